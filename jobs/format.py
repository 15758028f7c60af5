"""Formats times, durations, sizes and counts for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def format_duration(length: timedelta) -> str:
    """Return a duration in its largest unit, and in the next smaller one if the number is small: 1 h 20 min."""
    seconds = max(0, round(length.total_seconds()))
    for (size, unit), (smaller_size, smaller_unit) in pairwise(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            small = rest // smaller_size
            return f"{whole} {unit} {small} {smaller_unit}" if whole < 3 and small else f"{whole} {unit}"
    return f"{seconds} s"


def format_time(when: datetime, now: datetime, zone: tzinfo) -> str:
    """Return a time: without its day if that is today, without its year if it is within 300 days."""
    local, local_now = when.astimezone(zone), now.astimezone(zone)
    if local.date() == local_now.date():
        return f"{local:%H:%M}"
    return f"{local:%b %d %H:%M}" if abs(local_now - local) < timedelta(days=300) else f"{local:%Y-%m-%d %H:%M}"


def plural(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun: 1 run, 2 runs, 1,200 runs."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def and_more(items: Sequence[str], shown: int, where: str = "") -> str:
    """Return the first items, and how many more there are: `a; b; and 3 more`, or `a; b; and 3 more, in the log`."""
    listed = list(items[:shown])
    if len(items) > shown:
        listed.append(f"and {len(items) - shown} more" + (f", {where}" if where else ""))
    return "; ".join(listed)


def format_size(number: float) -> str:
    """Return a size in the unit with one to three digits before the point: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
