import pytest

from jobs.backup.restore.compare import Difference, Sequence, unkept
from jobs.backup.sets.manifest import Last, Rows

ORDERS = ("public", "orders")


@pytest.mark.parametrize(
    ("promised", "found", "kept"),
    [(7, 7, True), (7, 6, False), (7, 8, False), (7, None, False), (0, 0, True), (None, 3, True), (None, None, False)],
)
def test_row_counts_have_to_be_equal_and_tables_there(promised: int | None, found: int | None, kept: bool) -> None:
    rows = {} if found is None else {ORDERS: found}
    told = unkept([Rows(*ORDERS, promised, 0)], [], rows, {})
    assert told == (() if kept else (Difference("table", "public.orders", promised, found),))


@pytest.mark.parametrize(
    ("promised", "found", "kept"),
    [
        (5000, Sequence(5010), True),
        (5000, Sequence(5000), True),
        (5000, Sequence(4999), False),
        (5000, Sequence(None), False),
        (5000, None, False),
        (None, Sequence(None), True),
        (None, Sequence(1), True),
        (None, None, False),
        (-5, Sequence(-6, increment=-1), True),
        (-5, Sequence(-4, increment=-1), False),
    ],
)
def test_sequences_may_have_gone_on_but_not_back(promised: int | None, found: Sequence | None, kept: bool) -> None:
    there = {} if found is None else {ORDERS: found}
    assert (unkept([], [Last(*ORDERS, promised)], {}, there) == ()) is kept
