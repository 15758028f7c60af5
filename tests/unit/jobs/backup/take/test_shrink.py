"""A set that is much smaller than the sets before it is reported once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jobs.backup.take.shrink import SetSize, describe_shrinkage, sizes_of_runs

MB = 1_000_000


@pytest.mark.parametrize(
    ("new", "earlier", "share", "shrinks"),
    [
        (100, [], 0.5, False),
        (100, [100], 0.5, False),
        (50, [100], 0.5, False),
        (49, [100], 0.5, True),
        (0, [100] * 10, 0.5, True),
        (0, [0, 0, 0], 0.5, False),
        (90, [100, 300, 100, 100, 900], 0.5, False),  # one large set does not change the median
        (40, [40, 100, 100, 100], 0.5, False),  # reported by the run before
        (45, [40, 100, 100, 100], 0.5, False),
        (15, [40, 100, 100, 100], 0.5, True),  # falls again
        (40, [100, 40, 100, 100], 0.5, True),  # was large again in between
        (40, [40, 40, 40, 40, 40, 100, 100], 0.5, False),
        (85, [100] * 10, 0.9, True),
        (20, [100] * 10, 0.1, False),
    ],
)
def test_only_the_first_set_after_a_fall_shrinks(new: int, earlier: Sequence[int], share: float, shrinks: bool) -> None:
    of_bytes = describe_shrinkage(SetSize(new, None), [SetSize(each, None) for each in earlier], share)
    of_rows = describe_shrinkage(SetSize(7, new), [SetSize(7, each) for each in earlier], share)
    assert (bool(of_bytes), bool(of_rows)) == (shrinks, shrinks)


def test_the_sentence_has_both_numbers() -> None:
    earlier = [SetSize(90 * MB, 50_000), SetSize(90 * MB, None), SetSize(100 * MB, 60_000)]
    both = describe_shrinkage(SetSize(2 * MB, 10), earlier, 0.5)
    assert both == "10 rows after 55,000 and 2.0 MB after 90.0 MB"
    assert describe_shrinkage(SetSize(80 * MB, 10), earlier, 0.5) == "10 rows after 55,000"


def test_rows_that_were_not_counted_are_not_compared() -> None:
    assert describe_shrinkage(SetSize(90, None), [SetSize(100, 5)], 0.5) == ""
    assert describe_shrinkage(SetSize(90, 0), [SetSize(100, None)], 0.5) == ""


def test_sizes_come_from_the_last_ten_runs_with_a_set() -> None:
    runs = [{}, {"dumped_bytes": "1"}, {"dumped_bytes": 1, "rows": "x"}, *({"dumped_bytes": 2, "rows": 3},) * 20]
    assert sizes_of_runs(runs) == [SetSize(1, None), *[SetSize(2, 3)] * 9]
