"""Decide which indexes are built while other tables still get rows, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.selection import ArchiveEntry, among, early_indexes
from jobs.backup.sets.description import TableRows

_MIN_BYTES = 64 << 20  # below, the start of a process takes too much of the time


@dataclass(frozen=True, slots=True)
class IndexBuild:
    """Indexes and constraints that one process restores, and the builds that can start after it."""

    entries: tuple[int, ...]
    then: tuple[IndexBuild, ...] = ()


def index_builds(
    entries: Sequence[ArchiveEntry],
    tables: Iterable[TableRows],
    own: Collection[QualifiedName],
    wanted: Collection[int] | None = None,
) -> Mapping[QualifiedName | None, Sequence[IndexBuild]]:
    """Return the builds that can start once a table of `own` has its rows; at None, once all other tables have theirs.

    The biggest tables come first. The indexes of small tables are not among them.
    """
    kinds = {entry.id: entry.kind for entry in entries}
    sizes = {(table.schema, table.name): table.bytes for table in tables}
    found, others = dict[QualifiedName | None, Sequence[IndexBuild]](), list[IndexBuild]()
    for name, ids in sorted(early_indexes(entries, sizes).items(), key=lambda item: -sizes[item[0]]):
        builds = _builds_of_table(among(ids, wanted), kinds)
        if name in own:
            found[name] = builds
        elif sizes[name] >= _MIN_BYTES:
            others += builds
    return {**found, None: others}


def _builds_of_table(entries: Sequence[int], kinds: Mapping[int, str]) -> tuple[IndexBuild, ...]:
    """Return builds of one table. A constraint locks the table, so a build beside it would occupy a stream and wait."""
    constraints = tuple(entry for entry in entries if kinds[entry] == "CONSTRAINT")
    indexes = tuple(IndexBuild((entry,)) for entry in entries if entry not in constraints)
    return (IndexBuild(constraints, indexes),) if constraints else indexes
