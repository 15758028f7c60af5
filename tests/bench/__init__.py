"""What is measured, side by side."""

from tests.bench.shape import Bench, Side

__all__ = ["Bench", "Side"]
