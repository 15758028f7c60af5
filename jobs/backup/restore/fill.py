"""Fill an empty database from a backup set: definitions, rows in parallel, indexes and constraints, statistics."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import IO

from jobs.backup.concurrent import ByteCounter, Cancellation
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore import pg_restore
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.default_privileges import grant_privileges, withhold_privileges
from jobs.backup.restore.definitions import (
    definitions_archive,
    definitions_listing,
    read_entries,
    read_lists,
    restore_constraints,
    restore_definitions,
    restore_privileges,
    revoke_public_create,
    schemas_of_extensions,
)
from jobs.backup.restore.index_builds import IndexBuild, index_builds
from jobs.backup.restore.ordinary_role import OrdinaryRole
from jobs.backup.restore.processes import list_file
from jobs.backup.restore.rows import KINDS_WITH_ROWS, EarlyIndexes, Step, part_listing, restore_archive, restore_rows
from jobs.backup.restore.selection import entries_without, rows_of
from jobs.backup.restore.statistics import analyze
from jobs.backup.restore.target import closed_to_others
from jobs.backup.restore.task import RestoreTask, known_names
from jobs.backup.sets.in_use import noted_as_in_use
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.stored import StoredSet

_MAX_TABLES_WITH_EARLY_INDEXES = 1000
_MAX_UNLOGGED = 500
_NEED_LOGGED = ("TABLE ATTACH ", "PUBLICATION TABLE ")

_LOGGED_TABLES = """SELECT c.oid::pg_catalog.regclass::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence = 'p' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relkind = 'p')"""


# The tables and sequences whose values users change. If an extension has a column of a type such as regclass, its rows
# can name objects of the database.
_EXTENSION_ROWS = """SELECT n.nspname, c.relname, EXISTS (
        SELECT FROM pg_catalog.unnest(extconfig) same
        JOIN pg_catalog.pg_attribute a ON a.attrelid = same AND a.attnum > 0
        JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
        WHERE y.typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND y.typname ~ '^_?reg')
    FROM pg_catalog.pg_extension CROSS JOIN pg_catalog.unnest(extconfig) configured
    JOIN pg_catalog.pg_class c ON c.oid = configured JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""


@dataclass(frozen=True, slots=True)
class ExtensionRows:
    """The entries of the rest of a set by who restores them, if it has rows of extensions.

    A superuser restores these rows: the owner of a database cannot write into most tables of extensions, so code of the
    set must not, either.
    """

    rest: Part | None = None
    early: tuple[int, ...] = ()
    """Rows that are restored before anything else of the set exists."""
    late: tuple[int, ...] = ()
    """Rows that name tables and other objects of the set."""
    others: tuple[int, ...] = ()

    def steps_of_role(self, stored: StoredSet) -> list[Step]:
        """Return the parts that the role restores."""
        parts = stored.parts(*KINDS_WITH_ROWS)
        return [(part, self.others if part == self.rest else None) for part in parts]


def fill(task: RestoreTask, *, statistics: bool = True) -> Mapping[QualifiedName, int]:
    """Restore the whole set into an empty database. Return the rows of the tables that were counted on the way.

    Statistics contain values of rows. A restore that sanitises rows collects statistics later, and until then the
    role of the task owns all.
    """
    with ExitStack() as files:
        files.enter_context(noted_as_in_use(task.stored, task.run))
        archive = files.enter_context(definitions_archive(task.stored, task.run.check))
        use_list, lists, of_extensions = None, None, ExtensionRows()
        with task.run.step("definitions"):
            revoke_public_create(task)
            if task.role is not None:
                lists = read_lists(task, archive)
                of_extensions = restore_extensions(task, task.role, archive, lists.extensions, with_rows=True)
                restore_privileges(task, archive, lists.schema_privileges)
                task.role.own_database(task.into, schemas_of_extensions(task.stored))
                use_list = files.enter_context(list_file(lists.by_role))
            restore_definitions(task, "pre-data", archive, use_list)
            # A superuser who restores the privileges of the set has closed the database.
            withheld = [] if task.options.privileges else withhold_privileges(task.into)
            if task.throw_away and can_be_unlogged(definitions_listing(task, archive)):
                _make_unlogged(task)
        by_role = lists.by_role if lists is not None else None
        with task.run.step("rows"):
            _restore_as_superuser(_without_triggers(task), of_extensions.rest, of_extensions.late)
            early = EarlyIndexes(archive, _early_builds(task, archive, by_role))
            counts = restore_rows(task, of_extensions.steps_of_role(task.stored), early)
        with task.run.step("indexes and constraints"):
            restore_constraints(task, archive, by_role, early.restored)
        if statistics:
            with task.run.step("statistics"):
                analyze(task)
        grant_privileges(task.into, withheld)
        if task.role is not None and lists is not None:
            if statistics:
                task.role.hand_over(task.into)
            restore_privileges(task, archive, lists.privileges)
    return counts


def _early_builds(
    task: RestoreTask, archive: IO[bytes], by_role: Collection[int] | None
) -> Mapping[QualifiedName | None, Sequence[IndexBuild]]:
    """Return the indexes that can be built while other tables get rows. Many definitions take long to read."""
    segments = [task.stored.segment(part) for part in task.stored.parts(PartKind.SEGMENT)]
    tables = task.stored.description.tables
    if not segments or len(tables) > _MAX_TABLES_WITH_EARLY_INDEXES:
        return {}
    own = {(segment.schema, segment.table) for segment in segments}
    return index_builds(read_entries(task, archive), tables, own, by_role)


def can_be_unlogged(listing: str) -> bool:
    """Whether all tables of the definitions that `pg_restore --list` prints can be unlogged.

    A publication takes no unlogged table. A partitioned table stays logged, and its foreign keys accept only logged
    tables. With many tables, it takes longer to change each of them than to write the log.
    """
    entries = [what for _, what in pg_restore.listed_entries(listing)]
    tables = sum(what.startswith("TABLE ") for what in entries)
    return tables <= _MAX_UNLOGGED and not any(what.startswith(_NEED_LOGGED) for what in entries)


def _make_unlogged(task: RestoreTask) -> None:
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        for (name,) in connection.execute(_LOGGED_TABLES).fetchall():
            connection.execute(f"ALTER TABLE {name} SET UNLOGGED".encode())


def restore_extensions(
    task: RestoreTask, role: OrdinaryRole, archive: IO[bytes], entries: Collection[int], *, with_rows: bool = False
) -> ExtensionRows:
    """Create the extensions as a superuser, before anything exists that their scripts and triggers could call.

    Only then does the database belong to the role: an owner can connect, and create functions in schema public. So can
    the owner of a database that existed before, until it is closed. With their rows, return who restores the rest.
    """
    with ExitStack() as stack:
        use_list = stack.enter_context(list_file(entries))
        if task.stored.description.extensions:
            stack.enter_context(closed_to_others(task.into))
        options = replace(task.options, owners=role.keeps_owners, privileges=False)
        restore_definitions(replace(task, role=None, options=options), "pre-data", archive, use_list)
        rows = _extension_rows(task) if with_rows else ExtensionRows()
        _restore_as_superuser(task, rows.rest, rows.early)
    return rows


def _extension_rows(task: RestoreTask) -> ExtensionRows:
    """Return which entries of the rest have rows of extensions that exist in the database."""
    rest = next(iter(task.stored.parts(PartKind.REST)), None)
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        refers = {(schema, name): late for schema, name, late in connection.execute(_EXTENSION_ROWS).fetchall()}
    if rest is None or not refers:
        return ExtensionRows()
    listing, known = part_listing(task, rest), [*known_names(task), *refers]
    early, late = (rows_of(listing, {name for name in refers if refers[name] is each}, known) for each in (False, True))
    return ExtensionRows(rest, early, late, entries_without(listing, refers, known))


def _restore_as_superuser(task: RestoreTask, part: Part | None, entries: Collection[int]) -> None:
    if part is not None and entries:
        with list_file(entries) as use_list:
            restore_archive(replace(task, role=None), part, use_list, Cancellation(), ByteCounter())


def _without_triggers(task: RestoreTask) -> RestoreTask:
    """Return the task with triggers disabled: once objects of the set exist, they could call these."""
    return replace(task, into=task.into.with_options("-c session_replication_role=replica"))
