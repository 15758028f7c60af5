from dataclasses import replace

import pytest

from jobs.backup.restore.compare import (
    Contents,
    Difference,
    SequenceState,
    compare,
    difference_text,
    sequence_differences,
    table_differences,
)
from jobs.backup.sets.manifest import SequenceValue, TableRows
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST

ORDERS = ("public", "orders")


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [(7, 7, True), (7, 6, False), (7, 8, False), (7, None, False), (0, 0, True), (None, 3, True), (None, None, False)],
)
def test_tables_must_exist_with_equal_row_counts(expected: int | None, found: int | None, same: bool) -> None:
    rows = {} if found is None else {ORDERS: found}
    differences = table_differences([TableRows(*ORDERS, expected, 0)], rows)
    assert differences == (() if same else (Difference("table", "public.orders", expected, found),))


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        (5000, SequenceState(5010), True),
        (5000, SequenceState(5000), True),
        (5000, SequenceState(4999), False),
        (5000, SequenceState(None), False),
        (5000, None, False),
        (None, SequenceState(None), True),
        (None, SequenceState(1), True),
        (None, None, False),
        (-5, SequenceState(-6, increment=-1), True),
        (-5, SequenceState(-4, increment=-1), False),
    ],
)
def test_sequences_can_be_ahead_but_not_behind(expected: int | None, found: SequenceState | None, same: bool) -> None:
    states = {} if found is None else {ORDERS: found}
    differences = sequence_differences([SequenceValue(*ORDERS, expected)], states)
    assert (differences == ()) is same, differences


def test_compares_tables_sequences_and_large_objects() -> None:
    manifest = replace(
        MANIFEST,
        tables=(TableRows(*ORDERS, 7, 0), TableRows("public", "customers", 5, 0)),
        sequences=(SequenceValue("public", "orders_id_seq", 7),),
        large_objects=2,
    )
    contents = Contents({ORDERS: 6}, {}, large_objects=1)
    orders = Difference("table", "public.orders", 7, 6)
    assert compare(manifest, contents) == (
        orders,
        Difference("table", "public.customers", 5, None),
        Difference("sequence", "public.orders_id_seq", 7, None),
        Difference("large objects", "all", 2, 1),
    )
    assert compare(manifest, contents, only=frozenset({ORDERS})) == (orders,)


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (Difference("table", "public.orders", 7, 6), "table public.orders: 7 rows expected, 6 rows found"),
        (Difference("table", "public.orders", 7, None), "table public.orders: 7 rows expected, missing"),
        (Difference("table", "public.orders", None, None), "table public.orders: missing"),
        (Difference("sequence", "public.ids", 7, 6), "sequence public.ids: 7 expected, 6 found"),
        (Difference("large objects", "all", 2, 1), "large objects all: 2 expected, 1 found"),
    ],
)
def test_a_difference_as_text(difference: Difference, text: str) -> None:
    assert difference_text(difference) == text
