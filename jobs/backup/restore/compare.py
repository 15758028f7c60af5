"""What a manifest promised, held against what a restored database has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from jobs.backup.sets.manifest import Last, Rows

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A restored sequence: where it stands, and which way it goes."""

    last: int | None
    increment: int = 1


@dataclass(frozen=True, slots=True)
class Difference:
    """One promise that was not kept. None stands for "not there"."""

    kind: str
    name: str
    promised: int | None
    found: int | None


def unkept(
    tables: Iterable[Rows],
    sequences: Iterable[Last],
    found_rows: Mapping[Name, int],
    found_sequences: Mapping[Name, Sequence],
) -> tuple[Difference, ...]:
    """Row counts have to be equal; sequences, which do not obey snapshots, may have gone on but not back."""
    return (
        *(different for table in tables if (different := _table(table, found_rows))),
        *(different for sequence in sequences if (different := _sequence(sequence, found_sequences))),
    )


def _table(promised: Rows, found: Mapping[Name, int]) -> Difference | None:
    rows = found.get((promised.schema, promised.name))
    if rows is not None and promised.rows in (rows, None):
        return None
    return Difference("table", f"{promised.schema}.{promised.name}", promised.rows, rows)


def _sequence(promised: Last, found: Mapping[Name, Sequence]) -> Difference | None:
    there = found.get((promised.schema, promised.name))
    if there is not None and _not_behind(there, promised.last):
        return None
    last = there.last if there is not None else None
    return Difference("sequence", f"{promised.schema}.{promised.name}", promised.last, last)


def _not_behind(there: Sequence, promised: int | None) -> bool:
    if promised is None:
        return True
    if there.last is None:
        return False
    return there.last >= promised if there.increment > 0 else there.last <= promised
