"""Select the entries of a set's archives that belong to some tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobs.backup.errors import BackupError
from jobs.backup.restore.compare import QualifiedName

_ENTRY = re.compile(
    r"^-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies:((?: \d+)*)\n)?"
    r"-- Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: .*$",
    re.MULTILINE,
)
_LISTED = re.compile(r"^(\d+); \d+ \d+ (TABLE DATA|SEQUENCE SET) (.*)$", re.MULTILINE)

_TABLES = ("TABLE", "FOREIGN TABLE")
_RELATIONS = (*_TABLES, "VIEW", "MATERIALIZED VIEW")
_PART_OF_TABLE = {
    *("DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "TABLE ATTACH", "TRIGGER"),
    *("RULE", "POLICY", "ROW SECURITY", "STATISTICS", "COMMENT", "ACL", "SECURITY LABEL", "SEQUENCE"),
    *("SEQUENCE OWNED BY",),
}
# Names for skipped objects, shown to the user.
_LABELS = {
    "FK CONSTRAINT": "foreign key",
    "TRIGGER": "trigger",
    "RULE": "rule",
    "POLICY": "policy",
    "DEFAULT": "default",
    "PUBLICATION TABLE": "publication membership",
}


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One object that an archive defines, and the ids of the entries that it needs."""

    id: int
    kind: str
    schema: str
    name: str
    needs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected tables: their own entries, the entries that these need, and labels of what is skipped."""

    own: tuple[int, ...]
    needed: tuple[int, ...]
    tables: frozenset[QualifiedName]
    sequences: frozenset[QualifiedName]
    left_out: tuple[str, ...]


def parse_entries(script: str) -> tuple[ArchiveEntry, ...]:
    """Parse the entries of an archive of definitions from the SQL of `pg_restore --verbose`."""
    return tuple(
        ArchiveEntry(int(number), kind, schema, name, frozenset(map(int, (needs or "").split())))
        for number, needs, name, kind, schema in _ENTRY.findall(script)
    )


def select_tables(entries: Sequence[ArchiveEntry], wanted: Sequence[str]) -> Selection:
    """Select tables by name, with their partitions."""
    by_id = {entry.id: entry for entry in entries}
    tables = _with_partitions(entries, {_find_table(entries, name).id for name in wanted})
    own, left_out = _own_entries(entries, tables, by_id)
    needed = _needed_entries(entries, own, by_id)
    selected = [entry for entry in entries if entry.id in own | needed]
    return Selection(
        own=tuple(entry.id for entry in selected if entry.id in own),
        needed=tuple(entry.id for entry in selected if entry.id in needed),
        tables=frozenset((by_id[table].schema, by_id[table].name) for table in tables),
        sequences=frozenset((entry.schema, entry.name) for entry in selected if entry.kind == "SEQUENCE"),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def row_entries(listing: str, selection: Selection, known: Collection[QualifiedName]) -> tuple[int, ...]:
    """Return the selected entries of an archive of rows, from the output of `pg_restore --list`."""
    selected = {"TABLE DATA": selection.tables, "SEQUENCE SET": selection.sequences}
    printed = {f"{schema} {name} ".replace("\n", " "): (schema, name) for schema, name in known}
    return tuple(
        int(number) for number, kind, rest in _LISTED.findall(listing) if _listed_name(rest, printed) in selected[kind]
    )


def _own_entries(
    entries: Sequence[ArchiveEntry], tables: Iterable[int], by_id: Mapping[int, ArchiveEntry]
) -> tuple[set[int], list[str]]:
    """Return the tables with all that belongs to them alone, and labels of what also belongs to other tables."""
    own, left_out = set(tables), []
    defined = {needed for table in own for needed in _closure(by_id[table], by_id)}
    for entry in entries:  # pg_dump writes an entry after the entries that it needs
        if entry.id in own or not entry.needs & own:
            continue
        # A partition needs only the definition of its parent table, not the rows.
        available = own | defined if entry.kind == "TABLE ATTACH" else own
        if entry.kind in _PART_OF_TABLE and not _needs_other_relation(entry, available, by_id):
            own.add(entry.id)
        elif entry.kind in _LABELS:
            left_out.append(f"{_LABELS[entry.kind]} {entry.name}")
    return own, left_out


def _needs_other_relation(entry: ArchiveEntry, available: set[int], by_id: Mapping[int, ArchiveEntry]) -> bool:
    return any(by_id[needed].kind in _RELATIONS for needed in _closure(entry, by_id) - available)


def _needed_entries(entries: Sequence[ArchiveEntry], own: set[int], by_id: Mapping[int, ArchiveEntry]) -> set[int]:
    """Return all that the own entries need, with its privileges and comments."""
    needed = {needed_id for own_id in own for needed_id in _closure(by_id[own_id], by_id)} - own
    return needed | {entry.id for entry in entries if entry.kind in ("ACL", "COMMENT") and entry.needs & needed} - own


def _find_table(entries: Iterable[ArchiveEntry], name: str) -> ArchiveEntry:
    matches = [
        entry for entry in entries if entry.kind in _TABLES and name in (entry.name, f"{entry.schema}.{entry.name}")
    ]
    if not matches:
        raise BackupError(f"table {name} is not in this set; list its tables with: crew backups show --json")
    if len(matches) > 1:
        names = ", ".join(f"{entry.schema}.{entry.name}" for entry in matches)
        raise BackupError(f"--tables {name} is ambiguous: the set has {names}; add the schema")
    return matches[0]


def _with_partitions(entries: Sequence[ArchiveEntry], tables: set[int]) -> set[int]:
    attachments = [entry.needs for entry in entries if entry.kind == "TABLE ATTACH"]
    parents = {child: parent for pair in attachments for child, parent in _child_and_parent(pair, entries)}
    grown = tables | {child for child, parent in parents.items() if parent in tables}
    return grown if grown == tables else _with_partitions(entries, grown)


def _child_and_parent(pair: frozenset[int], entries: Sequence[ArchiveEntry]) -> list[tuple[int, int]]:
    """Order the two tables of a TABLE ATTACH: the child needs the parent."""
    two = [entry for entry in entries if entry.id in pair]
    return [(child.id, parent.id) for child in two for parent in two if parent.id in child.needs]


def _closure(entry: ArchiveEntry, by_id: Mapping[int, ArchiveEntry]) -> set[int]:
    """Return the ids of an entry and of all that it needs, directly or indirectly."""
    reached, pending = {entry.id}, [entry]
    while pending:
        for needed in pending.pop().needs - reached:
            if needed in by_id:
                reached.add(needed)
                pending.append(by_id[needed])
    return reached


def _listed_name(rest: str, printed: Mapping[str, QualifiedName]) -> QualifiedName | None:
    """Parse `schema name owner`. Names can contain spaces, so the longest known name that fits is right."""
    fitting = [prefix for prefix in printed if rest.startswith(prefix)]
    return printed[max(fitting, key=len)] if fitting else None
