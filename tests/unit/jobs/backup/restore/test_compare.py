from dataclasses import replace

import pytest

from jobs.backup.restore.compare import (
    Contents,
    Difference,
    SequenceState,
    compare,
    difference_text,
    missing_sequences,
    sequence_notes,
    table_differences,
)
from jobs.backup.sets.description import SequenceValue, TableRows
from tests.unit.jobs.backup.sets.test_description import DESCRIPTION

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
    ("expected", "found", "note"),
    [
        (5000, SequenceState(5010), None),
        (5000, SequenceState(5000), None),
        (5000, SequenceState(4999), "5000 expected, 4999"),
        (5000, SequenceState(None), "5000 expected, never used"),
        (5000, None, None),
        (None, SequenceState(None), None),
        (None, SequenceState(1), None),
        (None, None, None),
        (-5, SequenceState(-6, increment=-1), None),
        (-5, SequenceState(-4, increment=-1), "-5 expected, -4"),
        (7, SequenceState(0), "7 expected, 0"),
    ],
)
def test_sequences_must_exist_and_a_note_names_those_behind(
    expected: int | None, found: SequenceState | None, note: str | None
) -> None:
    states, sequences = {} if found is None else {ORDERS: found}, [SequenceValue(*ORDERS, expected)]
    notes = (f"sequences cycled or were set back during the backup (public.orders: {note})",) if note else ()
    assert sequence_notes(sequences, states) == notes
    missing = Difference("sequence", "public.orders", expected, None)
    assert missing_sequences(sequences, states) == (() if found is not None else (missing,))


def test_a_note_names_at_most_five_sequences() -> None:
    names = [("public", f"s{number}") for number in range(8)]
    [note] = sequence_notes([SequenceValue(*name, 7) for name in names], {name: SequenceState(6) for name in names})
    assert note.endswith("public.s4: 7 expected, 6; and 3 more)")


def test_compares_tables_sequences_and_large_objects() -> None:
    description = replace(
        DESCRIPTION,
        tables=(TableRows(*ORDERS, 7, 0), TableRows("public", "customers", 5, 0)),
        sequences=(SequenceValue("public", "orders_id_seq", 7),),
        large_objects=2,
    )
    contents = Contents({ORDERS: 6}, {}, large_objects=1)
    orders = Difference("table", "public.orders", 7, 6)
    assert compare(description, contents) == (
        orders,
        Difference("table", "public.customers", 5, None),
        Difference("sequence", "public.orders_id_seq", 7, None),
        Difference("large objects", "all", 2, 1),
    )
    assert compare(description, contents, only=frozenset({ORDERS})) == (orders,)


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
