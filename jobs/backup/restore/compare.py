"""Compare a restored database with the description in its backup set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobs.backup.sets.description import Description, SequenceValue, TableRows
from jobs.format import and_more, plural

_SHOWN = 5

QualifiedName = tuple[str, str]
"""The schema and the name of a table or sequence."""


@dataclass(frozen=True, slots=True)
class SequenceState:
    """The last value of a restored sequence (None: never used) and its increment."""

    last: int | None
    increment: int = 1


@dataclass(frozen=True, slots=True)
class Contents:
    """What a restored database contains. A table whose rows are not counted has None."""

    rows: Mapping[QualifiedName, int | None]
    sequences: Mapping[QualifiedName, SequenceState]
    large_objects: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference from the description. `found` is None if the object is missing."""

    kind: str
    name: str
    expected: int | None
    found: int | None
    rows: tuple[str, ...] = ()
    """The first rows of a statement of the team, or lines of pg_amcheck: data, so no record, log or alert has them."""


def compare(
    expected: Description, contents: Contents, only: frozenset[QualifiedName] | None = None
) -> tuple[Difference, ...]:
    """Return all differences, or those of `only` these tables."""
    if only is not None:
        tables = (table for table in expected.tables if (table.schema, table.name) in only)
        return table_differences(tables, contents.rows)
    return (
        *table_differences(expected.tables, contents.rows),
        *missing_sequences(expected.sequences, contents.sequences),
        *_large_object_differences(expected.large_objects, contents.large_objects),
    )


def table_differences(
    expected: Iterable[TableRows], found: Mapping[QualifiedName, int | None]
) -> tuple[Difference, ...]:
    """Return the tables that are missing or have another row count."""
    return tuple(
        Difference("table", f"{table.schema}.{table.name}", table.rows, found.get((table.schema, table.name)))
        for table in expected
        if not _same_rows(table, found)
    )


def missing_sequences(
    expected: Iterable[SequenceValue], found: Mapping[QualifiedName, SequenceState]
) -> tuple[Difference, ...]:
    """Return the sequences that are missing. Their values can differ: sequences do not obey snapshots."""
    return tuple(
        Difference("sequence", f"{sequence.schema}.{sequence.name}", sequence.last, None)
        for sequence in expected
        if (sequence.schema, sequence.name) not in found
    )


def sequence_notes(expected: Iterable[SequenceValue], found: Mapping[QualifiedName, SequenceState]) -> tuple[str, ...]:
    """Return a note on the sequences that are behind the description. Usually, a sequence only moves ahead of it."""
    behind = [
        f"{sequence.schema}.{sequence.name}: {sequence.last} expected, "
        f"{'never used' if state.last is None else state.last}"
        for sequence in expected
        if (state := found.get((sequence.schema, sequence.name))) and _is_behind(state, sequence.last)
    ]
    if not behind:
        return ()
    return (f"sequences cycled or were set back during the backup ({and_more(behind, _SHOWN)})",)


def difference_text(difference: Difference) -> str:
    """Return a difference as text for errors and logs."""
    if difference.kind == "amcheck":
        return f"amcheck {difference.name}: {plural(difference.found or 0, 'fault')}"
    unit = " rows" if difference.kind in ("table", "statement") else ""
    found = "missing" if difference.found is None else f"{difference.found}{unit} found"
    expected = "" if difference.expected is None else f"{difference.expected}{unit} expected, "
    return f"{difference.kind} {difference.name}: {expected}{found}"


def _same_rows(table: TableRows, found: Mapping[QualifiedName, int | None]) -> bool:
    name = (table.schema, table.name)
    return name in found and table.rows in (found[name], None)


def _is_behind(state: SequenceState, expected: int | None) -> bool:
    if expected is None:
        return False
    if state.last is None:
        return True
    return state.last < expected if state.increment > 0 else state.last > expected


def _large_object_differences(expected: int, found: int) -> tuple[Difference, ...]:
    return () if found == expected else (Difference("large objects", "all", expected, found),)
