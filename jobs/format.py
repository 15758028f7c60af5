"""Times, durations, sizes and counts as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def format_duration(length: timedelta) -> str:
    """A duration in its biggest unit, with the next smaller one while the number is small: 1 h 20 min."""
    seconds = max(0, round(length.total_seconds()))
    for (size, unit), (smaller, finer) in pairwise(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            fine = rest // smaller
            return f"{whole} {unit} {fine} {finer}" if whole < 3 and fine else f"{whole} {unit}"
    return f"{seconds} s"


def format_time(when: datetime, now: datetime, zone: tzinfo) -> str:
    """A moment as short as it can be: the time if it was today, else with its day, else with its year."""
    there, here = when.astimezone(zone), now.astimezone(zone)
    if there.date() == here.date():
        return f"{there:%H:%M}"
    return f"{there:%b %d %H:%M}" if abs(here - there) < timedelta(days=300) else f"{there:%Y-%m-%d %H:%M}"


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its word: 1 run, 2 runs."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def and_more(items: Sequence[str], shown: int, where: str = "") -> str:
    """The first items, and how many more there are: `a; b; and 3 more`, or `a; b; and 3 more, in the log`."""
    listed = list(items[:shown])
    if len(items) > shown:
        listed.append(f"and {len(items) - shown} more" + (f", {where}" if where else ""))
    return "; ".join(listed)


def format_size(number: float) -> str:
    """In the unit that leaves one to three digits before the point: 1.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 99.95 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
