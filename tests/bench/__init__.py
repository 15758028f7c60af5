"""Benchmarks."""

from tests.bench.shape import Bench, Side

__all__ = ["Bench", "Side"]
