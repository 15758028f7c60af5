"""Restore the rows of one table into a new table beside it, for example to copy some of them back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, PLAIN_MONEY, Endpoint, server_encoding, translated_errors
from jobs.backup.restore.chosen_owner import ChosenOwner, executed_for
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.default_privileges import revoke_privileges
from jobs.backup.restore.lock import restore_lock
from jobs.backup.restore.pg_restore import DefinitionOptions
from jobs.backup.restore.restore import new_copy, pg_restore_for, require_createdb, require_same_contents
from jobs.backup.restore.tables import fill_tables, select_from_set
from jobs.backup.restore.target import RestoreTarget, drop_database
from jobs.backup.restore.task import RestoreTask
from jobs.backup.sets.stored import StoredSet
from jobs.run.job import Run

if TYPE_CHECKING:
    import psycopg

# Both databases must read and write values in the same format, whatever their settings.
_SAME_FORMATS = f"{PLAIN_MONEY} -c DateStyle=ISO -c IntervalStyle=postgres -c extra_float_digits=3"

_EXISTS = "SELECT pg_catalog.to_regclass(%s) IS NOT NULL"

# Without generated columns, which no INSERT accepts.
_COLUMNS = """SELECT attname, pg_catalog.format_type(atttypid, atttypmod), attidentity OPERATOR(pg_catalog.=) 'a',
        (SELECT pg_catalog.format('%%I.%%I', nspname, collname) FROM pg_catalog.pg_collation c
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) collnamespace
         WHERE c.oid OPERATOR(pg_catalog.=) attcollation AND attcollation OPERATOR(pg_catalog.<>) typcollation)
    FROM pg_catalog.pg_attribute JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) atttypid
    WHERE attrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s) AND attnum OPERATOR(pg_catalog.>) 0
        AND NOT attisdropped AND attgenerated OPERATOR(pg_catalog.=) '' ORDER BY attnum"""


@dataclass(frozen=True, slots=True)
class SideTableColumn:
    """A column of the restored table."""

    name: str
    type: str
    always_identity: bool
    collation: str | None

    @property
    def definition(self) -> str:
        """The column in CREATE TABLE."""
        collation = f" COLLATE {self.collation}" if self.collation else ""
        return f"{quoting.identifier(self.name)} {self.type}{collation}"


@dataclass(frozen=True, slots=True)
class SideTable:
    """A table of the set, and the new table that gets its rows."""

    source: QualifiedName
    name: QualifiedName
    rows: int = 0
    columns: tuple[SideTableColumn, ...] = ()

    @property
    def copy_back(self) -> str:
        """The statement that copies rows back into the table, if it still has the columns of the set."""
        columns = ", ".join(quoting.identifier(column.name) for column in self.columns)
        overriding = ["OVERRIDING SYSTEM VALUE"] if any(column.always_identity for column in self.columns) else []
        into, source = quoting.identifier(*self.source), quoting.identifier(*self.name)
        return " ".join(
            ["INSERT INTO", into, f"({columns})", *overriding, "SELECT", columns, "FROM", source, "WHERE …;"]
        )


def restore_side_table(
    stored: StoredSet,
    into: Endpoint,
    target: RestoreTarget,
    run: Run,
    *,
    table: str,
    as_table: str,
    streams: int,
    owner: ChosenOwner | None = None,
    dry_run: bool = False,
) -> SideTable:
    """Restore the rows of one table of the set into a new table, which appears whole or not at all.

    The table is restored into a copy first, so that no name, trigger or constraint of the database gets in the way.
    With an owner, a temporary role does it: types of either database can call functions.
    """
    options = DefinitionOptions(owners=False, privileges=False, tablespaces=False, subscriptions=False)
    with restore_lock(into):
        task = RestoreTask(stored, into, pg_restore_for(stored, target), run, streams, options, (table,))
        source = _selected_table(task)
        side = SideTable(source, new_table_name(as_table, source))
        _require_free(into, side.name)
        require_createdb(into, target)
        if dry_run:
            return side
        with (
            executed_for(task, target, owner) as executed,
            new_copy(into, stored.description.settings, target, executed.role) as copy,
        ):
            with translated_errors(), copy.connect(autocommit=True):  # shows others that this copy is not abandoned
                copy_task = replace(executed, into=copy)
                selection, counted = fill_tables(copy_task, with_needed=True, rows_only=True)
                require_same_contents(copy_task, counted, selection.tables)
                beside = executed.role.name if executed.role is not None else ""
                # Functions of the set must not run as a member of the owner.
                with executed_for(task, target, owner, is_member=True, beside=beside) as written:
                    side = _transfer(copy_task.executes, written.executes, side, run)
                    if written.role is not None:
                        written.role.hand_over(into)
            drop_database(into, copy.database)
    return side


def new_table_name(name: str, source: QualifiedName) -> QualifiedName:
    """Return the new table's schema, by default that of the source, and its name."""
    schema, dot, table = name.partition(".")
    found = (schema, table) if dot else (source[0], name)
    if not all(found) or any(len(part.encode()) > quoting.MAX_NAME_BYTES for part in found):
        raise BackupError(f"--as-table {name}: expected TABLE or SCHEMA.TABLE, each of at most 63 bytes")
    return found


def _selected_table(task: RestoreTask) -> QualifiedName:
    """Return the full name of the one table; with a partitioned table, its partitions are selected too."""
    names = select_from_set(task, with_needed=True).tables
    [wanted] = task.tables
    return next((name for name in names if wanted in (name[1], ".".join(name))), min(names))


def _require_free(into: Endpoint, name: QualifiedName) -> None:
    with translated_errors(), into.connect(autocommit=True) as connection:
        if connection.execute(_EXISTS, (quoting.identifier(*name),)).fetchone() == (True,):
            raise BackupError(f"table {'.'.join(name)} already exists in {into.database}; choose another --as-table")


def _transfer(copy: Endpoint, into: Endpoint, side: SideTable, run: Run) -> SideTable:
    """Create the new table and copy the rows into it, in one transaction."""
    with translated_errors(), copy.with_options(_SAME_FORMATS).connect(autocommit=True) as connection:
        connection.execute(DISABLE_TIMEOUTS)
        return _copy_rows(connection, into.with_options(_SAME_FORMATS), side, run)


def _copy_rows(copy: psycopg.Connection[Any], into: Endpoint, side: SideTable, run: Run) -> SideTable:
    found = copy.execute(_COLUMNS, (quoting.identifier(*side.source),)).fetchall()
    columns = tuple(SideTableColumn(*row) for row in found)
    names = ", ".join(quoting.identifier(column.name) for column in columns)
    name = quoting.identifier(*side.name)
    definitions = ", ".join(column.definition for column in columns)
    copy.execute("SET row_security = off")
    with run.step("copy rows"), into.connect() as target:
        target.execute(DISABLE_TIMEOUTS)
        target.execute(f"CREATE TABLE {name} ({definitions})")
        revoke_privileges(target, {side.name})  # the new table has no row security
        rows = " ".join(["SELECT", names, "FROM", quoting.identifier(*side.source)])
        encoding = f"WITH (ENCODING {quoting.literal(server_encoding(copy))})"
        with copy.cursor() as reading, target.cursor() as writing:
            with (
                reading.copy(f"COPY ({rows}) TO STDOUT {encoding}") as source,
                writing.copy(f"COPY {name} ({names}) FROM STDIN {encoding}") as sink,
            ):
                for block in source:
                    run.check()
                    sink.write(block)
            written = writing.rowcount
        target.execute(f"ANALYZE {name}")
    return replace(side, rows=written, columns=columns)
