"""Select the entries of a set's archives that belong to some tables."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from jobs.backup.errors import BackupError
from jobs.backup.postgres.extensions import LIBRARIES
from jobs.backup.restore.compare import QualifiedName

_ENTRY = re.compile(
    r"^-- TOC entry (\d+) \(class \d+ OID \d+\)\n(?:-- Dependencies:((?: \d+)*)\n)?"
    r"-- Name: (.*); Type: ([A-Z ]+); Schema: (.*?); Owner: .*$",
    re.MULTILINE,
)
_ROWS = "TABLE DATA"
_NUMBERED = re.compile(r"^(\d+); ", re.MULTILINE)
_LISTED_WITH_NEEDS = re.compile(r"^(\d+); \d+ \d+ (.*)(?:\n;\tdepends on:((?: \d+)*))?$", re.MULTILINE)
_LISTED = re.compile(r"^(\d+); \d+ \d+ (TABLE DATA|SEQUENCE SET) (.*)$", re.MULTILINE)

_TABLES = ("TABLE", "FOREIGN TABLE")
_RELATIONS = (*_TABLES, "VIEW", "MATERIALIZED VIEW")
_PART_OF_TABLE = {
    *("DEFAULT", "CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT", "INDEX", "INDEX ATTACH", "TABLE ATTACH", "TRIGGER"),
    *("RULE", "POLICY", "ROW SECURITY", "STATISTICS", "COMMENT", "ACL", "SECURITY LABEL", "SEQUENCE"),
    *("SEQUENCE OWNED BY",),
}
_NAMED = (*_TABLES, "SEQUENCE")
_INDEXES = ("CONSTRAINT", "INDEX", "INDEX ATTACH")
_WITHOUT_CODE = {"TABLE", "SCHEMA", "SEQUENCE", "TYPE", "DOMAIN", "COLLATION"}  # unless they need a function
# The body of a function is text, so the archive does not know what it needs.
_FUNCTIONS = ("FUNCTION", "PROCEDURE", "AGGREGATE")
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
    hides_needs: bool = False
    """Whether its definition can use extensions that the archive does not list as needed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Selected tables: their own entries, the entries that these need, and labels of what is skipped."""

    own: tuple[int, ...]
    needed: tuple[int, ...]
    tables: frozenset[QualifiedName]
    sequences: frozenset[QualifiedName]
    left_out: tuple[str, ...]


def parse_entries(script: str, listing: str, known: Iterable[QualifiedName] = ()) -> tuple[ArchiveEntry, ...]:
    """Parse the entries of an archive of definitions from what `pg_restore --verbose` prints, a script and a list.

    Only the script divides names well, but the body of a function in it can look like an entry. So the list decides
    which entries there are. pg_restore prints a space for a newline in a name, so the names of tables and sequences
    come from `known`.
    """
    names = {(_printed(schema), _printed(name)): (schema, name) for schema, name in known}
    listed = {number: (what, _numbers(needs)) for number, what, needs in _LISTED_WITH_NEEDS.findall(listing)}
    found = dict[int, ArchiveEntry]()
    for match in _ENTRY.finditer(script):
        number, needs, name, kind, schema = match.groups()
        what, listed_needs = listed.get(number, ("", frozenset()))
        if what.startswith(f"{kind} {schema} {name} ") and listed_needs == _numbers(needs):
            entry = _parse_entry(match, script, names)
            known_as = found.setdefault(entry.id, entry)
            found[entry.id] = replace(known_as, hides_needs=known_as.hides_needs or entry.hides_needs)
    return tuple(found.values())


def _parse_entry(match: re.Match[str], script: str, names: Mapping[QualifiedName, QualifiedName]) -> ArchiveEntry:
    number, needs, name, kind, schema = match.groups()
    if kind in _NAMED:
        schema, name = names.get((schema, name), (schema, name))
    definition = script[match.end() : script.find("\n-- TOC entry ", match.end())] if kind == "CONSTRAINT" else ""
    hides_needs = kind in _FUNCTIONS or " EXCLUDE USING " in definition
    return ArchiveEntry(int(number), kind, schema, name, _numbers(needs), hides_needs)


def _numbers(text: str | None) -> frozenset[int]:
    return frozenset(map(int, (text or "").split()))


def _printed(name: str) -> str:
    return name.replace("\n", " ").replace("\r", " ")


def select_tables(entries: Sequence[ArchiveEntry], wanted: Sequence[str], *, with_needed: bool = True) -> Selection:
    """Select tables by name, with their partitions. `with_needed` says whether what they need is restored, too."""
    by_id = {entry.id: entry for entry in entries}
    tables = _with_partitions(entries, {_find_table(entries, name).id for name in wanted}, by_id)
    own, left_out = _own_entries(entries, tables, by_id, with_needed=with_needed)
    needed = _needed_entries(entries, own, by_id)
    both = own | needed
    selected = [entry for entry in entries if entry.id in both]
    return Selection(
        own=tuple(entry.id for entry in selected if entry.id in own),
        needed=tuple(entry.id for entry in selected if entry.id in needed),
        tables=frozenset((by_id[table].schema, by_id[table].name) for table in tables),
        sequences=frozenset((entry.schema, entry.name) for entry in selected if entry.kind == "SEQUENCE"),
        left_out=tuple(dict.fromkeys(left_out)),
    )


def early_indexes(
    entries: Sequence[ArchiveEntry], tables: Collection[QualifiedName]
) -> dict[QualifiedName, tuple[int, ...]]:
    """Return the indexes and constraints of some tables that can be restored once their own table has its rows.

    An index whose expression calls a function is none of them: the function could read another table.
    """
    by_id, found = {entry.id: entry for entry in entries}, dict[QualifiedName, tuple[int, ...]]()
    wanted = set(tables)
    for entry in entries:
        needs = [by_id[each] for each in _closure(entry, by_id) - {entry.id}]
        if entry.kind in ("CONSTRAINT", "INDEX") and {each.kind for each in needs} <= _WITHOUT_CODE:
            names = {(each.schema, each.name) for each in needs if each.kind == "TABLE"}
            if len(names) == 1 and names <= wanted:
                [table] = names
                found[table] = (*found.get(table, ()), entry.id)
    return found


def row_entries(listing: str, selection: Selection, known: Collection[QualifiedName]) -> tuple[int, ...]:
    """Return the selected entries of an archive of rows, from the output of `pg_restore --list`."""
    selected = {_ROWS: selection.tables, "SEQUENCE SET": selection.sequences}
    printed = {f"{_printed(schema)} {_printed(name)}": (schema, name) for schema, name in known}
    return tuple(
        int(number) for number, kind, rest in _LISTED.findall(listing) if _listed_name(rest, printed) in selected[kind]
    )


def rows_of(listing: str, names: Collection[QualifiedName], known: Collection[QualifiedName]) -> tuple[int, ...]:
    """Return the entries with the rows of tables or values of sequences, from the output of `pg_restore --list`."""
    printed = {f"{_printed(schema)} {_printed(name)}": (schema, name) for schema, name in known}
    return tuple(int(number) for number, _, rest in _LISTED.findall(listing) if _listed_name(rest, printed) in names)


def entries_without(
    listing: str, names: Collection[QualifiedName], known: Collection[QualifiedName]
) -> tuple[int, ...]:
    """Return all entries of an archive but those of rows_of(), from the output of `pg_restore --list`."""
    rows = {*rows_of(listing, names, known)}
    return tuple(number for each in _NUMBERED.findall(listing) if (number := int(each)) not in rows)


def among(entries: Iterable[int], wanted: Collection[int] | None) -> tuple[int, ...]:
    """Return the wanted ones of some entries, in their order; all if `wanted` is None."""
    selected = None if wanted is None else set(wanted)
    return tuple(entry for entry in entries if selected is None or entry in selected)


def _own_entries(
    entries: Sequence[ArchiveEntry], tables: Iterable[int], by_id: Mapping[int, ArchiveEntry], *, with_needed: bool
) -> tuple[set[int], list[str]]:
    """Return the tables with all that belongs to them alone, and labels of what also belongs to other tables."""
    own, left_out = set(tables), []
    defined = {needed for table in own for needed in _closure(by_id[table], by_id)}
    for entry in entries:  # pg_dump writes an entry after the entries that it needs
        if entry.id in own or not entry.needs & own:
            continue
        # A partition needs only the definition of its parent table, not the rows. If the parent exists, it gives the
        # partition its indexes. If it is restored, its indexes are restored, too.
        of_partition = entry.kind == "TABLE ATTACH" or (with_needed and entry.kind in _INDEXES)
        available = (own, defined) if of_partition else (own,)
        if entry.kind in _PART_OF_TABLE and not _needs_other_relation(entry, available, by_id):
            own.add(entry.id)
        elif entry.kind in _LABELS:
            left_out.append(f"{_LABELS[entry.kind]} {entry.name}")
    return own, left_out


def _needs_other_relation(
    entry: ArchiveEntry, available: Iterable[set[int]], by_id: Mapping[int, ArchiveEntry]
) -> bool:
    relations = [needed for needed in _closure(entry, by_id) if by_id[needed].kind in _RELATIONS]
    return any(not any(needed in each for each in available) for needed in relations)


def _needed_entries(entries: Sequence[ArchiveEntry], own: set[int], by_id: Mapping[int, ArchiveEntry]) -> set[int]:
    """Return all that the own entries need, with its privileges and comments."""
    needed = {needed_id for own_id in own for needed_id in _closure(by_id[own_id], by_id)} - own
    if any(by_id[each].hides_needs for each in own | needed):
        extensions = (entry for entry in entries if entry.kind == "EXTENSION" and entry.name not in LIBRARIES)
        needed |= {each for extension in extensions for each in _closure(extension, by_id)} - own
    return needed | {entry.id for entry in entries if entry.kind in ("ACL", "COMMENT") and entry.needs & needed} - own


def _find_table(entries: Iterable[ArchiveEntry], name: str) -> ArchiveEntry:
    matches = [
        entry for entry in entries if entry.kind in _TABLES and name in (entry.name, f"{entry.schema}.{entry.name}")
    ]
    if not matches:
        raise BackupError(
            f"table {name} is not in this set; list its tables with: crew backups show ENV DATABASE --all"
        )
    if len(matches) > 1:
        names = ", ".join(f"{entry.schema}.{entry.name}" for entry in matches)
        raise BackupError(f"--tables {name} is ambiguous: the set has {names}; add the schema")
    return matches[0]


def _with_partitions(entries: Sequence[ArchiveEntry], tables: set[int], by_id: Mapping[int, ArchiveEntry]) -> set[int]:
    """Return the tables and all their partitions, found by TABLE ATTACH: the child needs the parent."""
    children: dict[int, list[int]] = {}
    for attached in (entry for entry in entries if entry.kind == "TABLE ATTACH"):
        pair = [by_id[each] for each in attached.needs if each in by_id]
        for child, parent in ((child, parent) for child in pair for parent in pair if parent.id in child.needs):
            children.setdefault(parent.id, []).append(child.id)
    grown, pending = set(tables), list(tables)
    while pending:
        new = [child for child in children.get(pending.pop(), ()) if child not in grown]
        grown.update(new)
        pending += new
    return grown


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
    spaces = (position for position in range(len(rest) - 1, 0, -1) if rest[position] == " ")
    return next((printed[rest[:space]] for space in spaces if rest[:space] in printed), None)
