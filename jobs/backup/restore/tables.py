"""Restore single tables of a backup set."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.default_privileges import grant_privileges, withhold_privileges
from jobs.backup.restore.definitions import (
    definitions_archive,
    read_entries,
    read_lists,
    restore_constraints,
    restore_definitions,
    restore_privileges,
    revoke_public_create,
    schemas_of_extensions,
)
from jobs.backup.restore.fill import restore_extensions
from jobs.backup.restore.processes import list_file
from jobs.backup.restore.rows import part_listing, restore_rows
from jobs.backup.restore.selection import Selection, among, row_entries, select_tables
from jobs.backup.restore.statistics import analyze
from jobs.backup.restore.task import RestoreTask, known_names
from jobs.backup.sets.in_use import noted_as_in_use
from jobs.backup.sets.manifest import Part, PartKind

_EXISTING = "SELECT pg_catalog.to_regclass(%s)"


def fill_tables(
    task: RestoreTask, *, with_needed: bool, rows_only: bool = False
) -> tuple[Selection, Mapping[QualifiedName, int]]:
    """Restore the tables of the task, optionally with the types, functions and schemas that they need.

    Return what was selected, and the rows of the tables that were counted on the way. Other roles get their
    privileges on rows last, once row security is enabled, also the default privileges of the database. Those on
    schemas come first: owners of indexes need them.

    With `rows_only`, they get no indexes, constraints and statistics.
    """
    with ExitStack() as files:
        files.enter_context(noted_as_in_use(task.stored, task.run))
        archive = files.enter_context(definitions_archive(task.stored, task.run.check))
        selection = _select(task, archive, with_needed=with_needed)
        entries = (*selection.needed, *selection.own) if with_needed else selection.own
        lists = read_lists(task, archive)
        definitions, privileges = lists.by_role, lists.privileges
        if task.role is None:
            definitions = (*lists.extensions, *definitions)
            privileges = tuple(number for number in privileges if number in lists.on_rows)
        definitions = among(definitions, entries)
        use_list = files.enter_context(list_file(definitions))
        with task.run.step("definitions"):
            if with_needed:
                revoke_public_create(task)
                if task.role is not None:
                    restore_extensions(task, task.role, archive, among(lists.extensions, entries))
                    restore_privileges(task, archive, among(lists.schema_privileges, entries))
                    task.role.own_database(task.into, schemas_of_extensions(task.stored))
            restore_definitions(task, "pre-data", archive, use_list)
            withheld = withhold_privileges(task.into, selection.tables)
            if task.role is None:
                first = [n for n in (*lists.schema_privileges, *lists.privileges) if n not in lists.on_rows]
                restore_privileges(task, archive, among(first, entries))
        with task.run.step("rows"):
            steps = [(part, _row_entries(task, part, selection)) for part in _parts(task, selection)]
            counts = restore_rows(task, steps)
        if rows_only:
            return selection, counts
        with task.run.step("indexes and constraints"):
            restore_constraints(task, archive, definitions)
        with task.run.step("statistics"):
            analyze(task, only=selection.tables)
        if task.role is not None:
            task.role.hand_over(task.into)
        grant_privileges(task.into, withheld)
        restore_privileges(task, archive, among(privileges, entries))
    return selection, counts


def select_from_set(task: RestoreTask, *, with_needed: bool) -> Selection:
    """Return what fill_tables() would restore, or raise as it would."""
    with definitions_archive(task.stored, task.run.check) as archive:
        return _select(task, archive, with_needed=with_needed)


def _select(task: RestoreTask, archive: IO[bytes], *, with_needed: bool) -> Selection:
    """Return the selection; without what it needs, raise if one of its tables exists already."""
    selection = select_tables(read_entries(task, archive), task.tables, with_needed=with_needed)
    if not with_needed:
        _require_absent(task, selection)
    return selection


def _require_absent(task: RestoreTask, selection: Selection) -> None:
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        for name in sorted(selection.tables):
            if connection.execute(_EXISTING, (quoting.identifier(*name),)).fetchone() != (None,):
                raise BackupError(
                    f"table {'.'.join(name)} already exists in {task.into.database}; to restore its rows "
                    "beside it, add --as-table NAME; or rename it first, or restore into a new database (--create)"
                )


def _parts(task: RestoreTask, selection: Selection) -> list[Part]:
    """Return the parts that have rows of the selection: those of single tables, and the rest if it is needed."""
    tables = task.stored.description.table_parts
    big = [(tables.get(part.name), part) for part in task.stored.parts(PartKind.TABLE, PartKind.SEGMENT)]
    names = {quoting.identifier(*name) for name in selection.tables}
    others = names - {table for table, _ in big} or selection.sequences
    return [
        *(part for table, part in big if table in names),
        *(task.stored.parts(PartKind.REST) if others else ()),
    ]


def _row_entries(task: RestoreTask, part: Part, selection: Selection) -> tuple[int, ...] | None:
    """Return the selected entries of the rest; None for a part of a single table."""
    if part.kind is not PartKind.REST:
        return None
    return row_entries(part_listing(task, part), selection, known_names(task))
