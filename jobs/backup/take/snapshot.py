"""Export the snapshot that all parts of a set read, after locking every table against ALTER, DROP and TRUNCATE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, Endpoint, translate_error
from jobs.backup.take.parts import Table, milliseconds
from jobs.run.job import Transient

if TYPE_CHECKING:
    import psycopg

_LOCKS_PER_STATEMENT = 200
_MAX_ATTEMPTS = 5

# Plain tables and partitions. A table of an extension counts only if the extension marks its rows as user data.
_TABLES = """
SELECT c.oid, n.nspname, c.relname, 0, c.relkind::pg_catalog.text = 'r', c.relpersistence = 'u', NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))
ORDER BY c.oid
"""

_SIZES = "SELECT oid, pg_catalog.pg_table_size(oid) FROM pg_catalog.unnest(%s::pg_catalog.oid[]) oid"

_HOLDERS = """
SELECT l.relation::pg_catalog.regclass::pg_catalog.text, a.pid, l.granted, a.usename, a.application_name, a.xact_start,
       a.state
FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
WHERE l.relation = ANY (%s) AND l.mode = 'AccessExclusiveLock' AND a.pid <> pg_catalog.pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
ORDER BY l.granted DESC, a.xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ExportedSnapshot:
    """A snapshot with its name, the connection that keeps it alive, and the tables in it."""

    connection: psycopg.Connection[Any]
    name: str
    tables: tuple[Table, ...]


@contextmanager
def export_snapshot(endpoint: Endpoint, lock: timedelta) -> Iterator[ExportedSnapshot]:
    """Yield a snapshot. Inside this context other connections can use it, and no table can be altered or truncated."""
    import psycopg

    connection = endpoint.connect(autocommit=True)
    try:
        yield _take(connection, endpoint, lock)
    except psycopg.Error as error:  # also from the caller's queries on the connection of the snapshot
        raise translate_error(error) from None
    finally:
        with suppress(psycopg.Error):
            connection.close()


def require_held(snapshot: ExportedSnapshot) -> None:
    """Raise if the connection of the snapshot broke: since then, nothing kept its tables from changing."""
    snapshot.connection.execute("SELECT 1")


def _take(connection: psycopg.Connection[Any], endpoint: Endpoint, lock: timedelta) -> ExportedSnapshot:
    connection.execute(DISABLE_TIMEOUTS)
    for _ in range(_MAX_ATTEMPTS):
        tables = _read_tables(connection)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if lock_tables(connection, tables, endpoint, lock):
            [name] = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone() or [""]
            visible = _read_tables(connection)
            if {table.oid for table in visible} <= {table.oid for table in tables}:
                return ExportedSnapshot(connection, name, tuple(_with_sizes(connection, visible)))
        connection.execute("ROLLBACK")
    raise Transient(
        f"{endpoint.database}: tables are created and dropped faster than they can be locked; try again later"
    )


def _read_tables(connection: psycopg.Connection[Any]) -> list[Table]:
    return [Table(*row) for row in connection.execute(_TABLES)]


def _with_sizes(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> Iterator[Table]:
    rows = connection.execute(_SIZES, [[table.oid for table in tables]])
    sizes = dict(rows.fetchall())
    return (replace(table, bytes=sizes[table.oid]) for table in tables)


def lock_tables(
    connection: psycopg.Connection[Any], tables: Sequence[Table], endpoint: Endpoint, lock: timedelta
) -> bool:
    """Lock the tables against changes; return False if one was dropped.

    The locks must come before the snapshot: a table truncated in between would be dumped as empty.
    """
    import psycopg

    connection.execute(f"SET LOCAL lock_timeout = {milliseconds(lock)}")
    for start in range(0, len(tables), _LOCKS_PER_STATEMENT):
        batch = tables[start : start + _LOCKS_PER_STATEMENT]
        names = ", ".join(f"ONLY {table.quoted}" for table in batch)
        try:
            connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE".encode())
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return False
        except psycopg.errors.LockNotAvailable:
            raise Transient(describe_lock_holder(endpoint, batch, lock)) from None
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(f"{error.diag.message_primary}; {privileges.NEEDED_PRIVILEGES}") from None
    return True


def describe_lock_holder(endpoint: Endpoint, tables: Sequence[Table], lock: timedelta) -> str:
    """Describe the process that blocks a lock on one of the tables. Its query is not shown: it can contain data."""
    with endpoint.connect(autocommit=True) as connection:
        row = connection.execute(_HOLDERS, [[table.oid for table in tables]]).fetchone()
    waited = f"waited {lock.total_seconds():g} s for a lock"
    if row is None:
        return f"{waited} that has just been released; try again"
    table, pid, granted, user, program, since, state = row
    relation = "is locked by" if granted else "is requested, ahead of us in the lock queue, by"
    owner = f"{user} ({program})" if program else user
    return (
        f"{waited}: table {table} {relation} process {pid} of {owner}, in a transaction since "
        f"{since.astimezone(UTC):%H:%M:%S} UTC ({state}). Wait for it, or end it: SELECT pg_terminate_backend({pid})"
    )
