"""Whether a set is much smaller than the sets before it: rows were deleted, or the role no longer sees them.

The figures of earlier runs have the sizes and row counts of their sets, so that no manifest is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median

from jobs.format import format_size, plural

SETS_COMPARED = 10


@dataclass(frozen=True, slots=True)
class SetSize:
    """The size of a set before compression, and its number of rows, or None if they were not counted."""

    dumped: int
    rows: int | None


def sizes_of_runs(figures: Iterable[Mapping[str, object]]) -> list[SetSize]:
    """Return the sizes of the last sets, newest first, from the figures of runs; runs without a set are skipped."""
    return list(islice(_sizes(figures), SETS_COMPARED))


def _sizes(figures: Iterable[Mapping[str, object]]) -> Iterator[SetSize]:
    for each in figures:
        dumped, rows = each.get("dumped_bytes"), each.get("rows")
        if isinstance(dumped, int):
            yield SetSize(dumped, rows if isinstance(rows, int) else None)


def describe_shrinkage(new: SetSize, earlier: Sequence[SetSize], share: float) -> str:
    """Return how a set fell below this share of the median of the earlier ones, newest first; "" if it did not."""
    counted = [size.rows for size in earlier if size.rows is not None]
    dumped = [size.dumped for size in earlier]
    facts = [
        f"{plural(new.rows or 0, 'row')} after {median(counted):,.0f}" if _fell(new.rows, counted, share) else "",
        f"{format_size(new.dumped)} after {format_size(median(dumped))}" if _fell(new.dumped, dumped, share) else "",
    ]
    return " and ".join(filter(None, facts))


def _fell(new: int | None, earlier: Sequence[int], share: float) -> bool:
    """Whether a number fell below the share. The sets after the first one are no news, unless it falls again."""
    if new is None or not earlier:
        return False
    limit = share * median(earlier)
    return new < limit and (earlier[0] >= limit or new < share * earlier[0])
