"""The one moment that all parts of a set see: every table locked against change of shape, then a snapshot exported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import NO_LIMITS, Reached, verdict
from jobs.backup.take.parts import Table, milliseconds
from jobs.run.job import Transient

if TYPE_CHECKING:
    import psycopg

_AT_ONCE = 200
_TRIES = 5

# Plain tables and partitions; of an extension's own tables only those whose rows belong to the user.
_TABLES = """
SELECT c.oid, n.nspname, c.relname, 0, c.relkind::text = 'r', c.relpersistence = 'u', NOT EXISTS (
  SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_depend d
                   WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))
ORDER BY c.oid
"""

_HOLDERS = """
SELECT l.relation::regclass::text, a.pid, l.granted, a.usename, a.application_name, a.xact_start, a.state
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation = ANY (%s) AND l.mode = 'AccessExclusiveLock' AND a.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.granted DESC, a.xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A held moment: the connection that holds it, its name for others, and the tables that it has."""

    connection: psycopg.Connection[Any]
    name: str
    tables: tuple[Table, ...]


@contextmanager
def held(reached: Reached, lock: timedelta) -> Iterator[Snapshot]:
    """While inside, no table can be altered or emptied, and others can read what this snapshot sees."""
    import psycopg

    connection = reached.connect(autocommit=True)
    try:
        try:
            snapshot = _take(connection, reached, lock)
        except psycopg.Error as error:
            raise verdict(error) from None
        yield snapshot
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _take(connection: psycopg.Connection[Any], reached: Reached, lock: timedelta) -> Snapshot:
    connection.execute(NO_LIMITS)
    for _ in range(_TRIES):
        known = _tables(connection)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if lock_all(connection, known, reached, lock):
            [name] = connection.execute("SELECT pg_export_snapshot()").fetchone() or [""]
            seen = _tables(connection)
            if {table.oid for table in seen} <= {table.oid for table in known}:
                return Snapshot(connection, name, tuple(_measured(connection, seen)))
        connection.execute("ROLLBACK")
    raise Transient(
        f"{reached.database}: tables were made and dropped faster than they could be locked; try again later"
    )


def _tables(connection: psycopg.Connection[Any]) -> list[Table]:
    return [Table(*row) for row in connection.execute(_TABLES)]


def _measured(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> Iterator[Table]:
    rows = connection.execute("SELECT oid, pg_table_size(oid) FROM unnest(%s::oid[]) oid", [[t.oid for t in tables]])
    sizes = dict(rows.fetchall())
    return (replace(table, bytes=sizes[table.oid]) for table in tables)


def lock_all(connection: psycopg.Connection[Any], tables: Sequence[Table], reached: Reached, lock: timedelta) -> bool:
    """Locks come before the snapshot: a table emptied in between would be dumped as empty. False if one is gone."""
    import psycopg

    connection.execute(f"SET LOCAL lock_timeout = {milliseconds(lock)}")
    for start in range(0, len(tables), _AT_ONCE):
        batch = tables[start : start + _AT_ONCE]
        names = ", ".join(f"ONLY {table.quoted}" for table in batch)
        try:
            connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE".encode())
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False
        except psycopg.errors.LockNotAvailable:
            raise Transient(held_by(reached, batch, lock)) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(f"{error.diag.message_primary}; {privileges.NEEDED}") from None
    return True


def held_by(reached: Reached, tables: Sequence[Table], lock: timedelta) -> str:
    """Who has locked one of the tables, asked on a connection of its own; the query's text stays with the server."""
    with reached.connect(autocommit=True) as connection:
        found = connection.execute(_HOLDERS, [[table.oid for table in tables]]).fetchone()
    waited = f"waited {lock.total_seconds():g} s for a lock"
    if found is None:
        return f"{waited} that was let go just now; try again"
    table, pid, granted, user, program, since, state = found
    has = "is locked by" if granted else "is waited for, before us, by"
    who = f"{user} ({program})" if program else user
    return (
        f"{waited}: table {table} {has} process {pid} of {who}, in a transaction since "
        f"{since.astimezone(UTC):%H:%M:%S} UTC ({state}); wait until it ends, or: SELECT pg_terminate_backend({pid})"
    )
