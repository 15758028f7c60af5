"""Which entries of a set's archives belong to a few tables, and what of theirs has to stay behind."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from jobs.backup.errors import BackupError
from jobs.backup.restore.compare import Name

_ENTRY = re.compile(
    r"^-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies:((?: \d+)*)\n)?"
    r"-- Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: .*$",
    re.MULTILINE,
)
_LISTED = re.compile(r"^(\d+); \d+ \d+ (TABLE DATA|SEQUENCE SET) (.*)$", re.MULTILINE)

_TABLES = ("TABLE", "FOREIGN TABLE")
_RELATIONS = (*_TABLES, "VIEW", "MATERIALIZED VIEW")
_OF_A_TABLE = {
    *("DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "TABLE ATTACH", "TRIGGER"),
    *("RULE", "POLICY", "ROW SECURITY", "STATISTICS", "COMMENT", "ACL", "SECURITY LABEL", "SEQUENCE"),
    *("SEQUENCE OWNED BY",),
}
_TOLD = {
    "FK CONSTRAINT": "foreign key",
    "TRIGGER": "trigger",
    "RULE": "rule",
    "POLICY": "policy",
    "DEFAULT": "default",
    "PUBLICATION TABLE": "place in a publication",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that an archive defines, and what it needs."""

    id: int
    kind: str
    schema: str
    name: str
    needs: frozenset[int]


@dataclass(frozen=True, slots=True)
class Selection:
    """The tables themselves with all that is theirs, what they need of the rest, and what stays behind."""

    own: tuple[int, ...]
    needed: tuple[int, ...]
    tables: frozenset[Name]
    sequences: frozenset[Name]
    left_out: tuple[str, ...]


def entries(script: str) -> tuple[Entry, ...]:
    """What an archive of definitions holds, from its SQL as `pg_restore --verbose` prints it."""
    return tuple(
        Entry(int(number), kind, schema, name, frozenset(map(int, (needs or "").split())))
        for number, needs, name, kind, schema in _ENTRY.findall(script)
    )


def select(found: Sequence[Entry], wanted: Sequence[str]) -> Selection:
    """Choose some tables; partitions come with theirs."""
    by_id = {entry.id: entry for entry in found}
    tables = _with_partitions(found, {_named(found, name).id for name in wanted})
    defined = {one for number in tables for one in _closure(by_id[number], by_id)}
    own, left = set(tables), []
    for entry in found:  # in the order of the archive: what is needed comes before what needs it
        if entry.id in own or not entry.needs & own:
            continue
        there = own | defined if entry.kind == "TABLE ATTACH" else own  # which asks for no rows of the other table
        lacking = [one for one in _closure(entry, by_id) - there if by_id[one].kind in _RELATIONS]
        if entry.kind in _OF_A_TABLE and not lacking:
            own.add(entry.id)
        elif entry.kind in _TOLD:
            left.append(f"{_TOLD[entry.kind]} {entry.name}")
    needed = {one for number in own for one in _closure(by_id[number], by_id)} - own
    needed |= {entry.id for entry in found if entry.kind in ("ACL", "COMMENT") and entry.needs & needed} - own
    return Selection(
        own=tuple(entry.id for entry in found if entry.id in own),
        needed=tuple(entry.id for entry in found if entry.id in needed),
        tables=frozenset((by_id[one].schema, by_id[one].name) for one in tables),
        sequences=frozenset(
            (one.schema, one.name) for one in found if one.id in own | needed and one.kind == "SEQUENCE"
        ),
        left_out=tuple(dict.fromkeys(left)),
    )


def _named(found: Iterable[Entry], wanted: str) -> Entry:
    fitting = [one for one in found if one.kind in _TABLES and wanted in (one.name, f"{one.schema}.{one.name}")]
    if not fitting:
        raise BackupError(f"there is no table {wanted} in this set; crew backups show lists them")
    if len(fitting) > 1:
        names = ", ".join(f"{one.schema}.{one.name}" for one in fitting)
        raise BackupError(f"--tables {wanted} could be any of {names}; name its schema")
    return fitting[0]


def _with_partitions(found: Sequence[Entry], tables: set[int]) -> set[int]:
    attached = [entry.needs for entry in found if entry.kind == "TABLE ATTACH"]
    parents = {child: parent for pair in attached for child, parent in _child_and_parent(pair, found)}
    grown = tables | {child for child, parent in parents.items() if parent in tables}
    return grown if grown == tables else _with_partitions(found, grown)


def _child_and_parent(pair: frozenset[int], found: Sequence[Entry]) -> list[tuple[int, int]]:
    """Of the two tables of a TABLE ATTACH, the child is the one that needs the other."""
    two = [one for one in found if one.id in pair]
    return [(child.id, parent.id) for child in two for parent in two if parent.id in child.needs]


def _closure(entry: Entry, by_id: dict[int, Entry]) -> set[int]:
    reached, left = {entry.id}, [entry]
    while left:
        for one in left.pop().needs - reached:
            if one in by_id:
                reached.add(one)
                left.append(by_id[one])
    return reached


def rows_of(listing: str, selection: Selection, known: Collection[Name]) -> tuple[int, ...]:
    """The entries of an archive of rows that belong to a selection, from its `pg_restore --list`."""
    wanted = {"TABLE DATA": selection.tables, "SEQUENCE SET": selection.sequences}
    printed = {f"{schema} {name} ".replace("\n", " "): (schema, name) for schema, name in known}
    return tuple(
        int(number) for number, kind, rest in _LISTED.findall(listing) if _whose(rest, printed) in wanted[kind]
    )


def _whose(rest: str, printed: dict[str, Name]) -> Name | None:
    """Schema, name and owner stand there with spaces between, which names may have too: the longest one fits."""
    fitting = [begin for begin in printed if rest.startswith(begin)]
    return printed[max(fitting, key=len)] if fitting else None
