"""Bytes as people say them."""

from __future__ import annotations


def size(number: float) -> str:
    """In the unit that leaves one to three digits before the point: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
