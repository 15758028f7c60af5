"""Export the snapshot that all parts of a set read, and keep its tables safe from ALTER, DROP and TRUNCATE.

A table that is truncated after the snapshot, and before pg_dump has locked it, would be dumped as empty. So all tables
are locked before the snapshot. A server without room for two locks per table gets one: pg_dump's. Once pg_dump has
locked all tables, they are compared with the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import (
    DISABLE_TIMEOUTS,
    REFUSE_VIEWS,
    Endpoint,
    translate_error,
    translated_errors,
)
from jobs.backup.take.parts import Table, milliseconds
from jobs.format import and_more
from jobs.run.job import Transient

if TYPE_CHECKING:
    import psycopg

_LOCKS_PER_STATEMENT = 200
_MAX_ATTEMPTS = 5
_SPARE_LOCKS = 1000
_SHOWN = 5

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

# The room by the documented formula, the same with the server's own processes, and the locks of all sessions.
_ROOM = """
SELECT per * (connections + prepared), per * (connections + prepared + own), per, (SELECT pg_catalog.count(*)
  FROM pg_catalog.pg_locks WHERE NOT fastpath), (SELECT pg_catalog.count(*)
  FROM pg_catalog.pg_sequence)
FROM (SELECT pg_catalog.current_setting('max_locks_per_transaction')::int8 AS per,
             pg_catalog.current_setting('max_connections')::int8 AS connections,
             pg_catalog.current_setting('max_prepared_transactions')::int8 AS prepared,
             (SELECT pg_catalog.sum(pg_catalog.current_setting(name, true)::int8) FROM pg_catalog.unnest(
              '{autovacuum_max_workers, autovacuum_worker_slots, max_worker_processes, max_wal_senders}'
              ::pg_catalog.text[]) AS name) AS own)
  AS settings
"""

# An ALTER, TRUNCATE or GRANT writes a new version of the row; VACUUM, ANALYZE and CREATE INDEX do not.
_VERSIONS = "SELECT oid, xmin::pg_catalog.text FROM pg_catalog.pg_class WHERE oid = ANY (%s)"

# pg_table_size() would look for twelve files per table.
_SIZES = """
SELECT oid, COALESCE(pg_catalog.pg_relation_size(oid), 0) + COALESCE(pg_catalog.pg_relation_size(reltoastrelid), 0)
FROM pg_catalog.pg_class WHERE oid = ANY (%s)
"""

# The locks do not keep a schema from being renamed. Under a lock, regclass has the name of now, and the catalog that of
# the snapshot.
_RENAMED = """
SELECT pg_catalog.format('%%I.%%I', nspname, relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE c.oid = ANY (%s)
  AND c.oid::pg_catalog.regclass::pg_catalog.text <> pg_catalog.format('%%I.%%I', nspname, relname)
"""

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
    versions: Mapping[int, str] | None = None
    """The versions of the tables by OID, if the connection holds no locks on them."""

    @property
    def locks_tables(self) -> bool:
        return self.versions is None


@dataclass(frozen=True, slots=True)
class LockRoom:
    """How many locks a server has room for, and how many a dump needs. Each object can be locked by two sessions."""

    documented: int
    with_own_processes: int
    per_transaction: int
    in_use: int
    objects: int

    @property
    def for_holder(self) -> bool:
        """Whether two sessions can lock everything."""
        return self.in_use + self.objects <= self.documented

    @property
    def hopeless(self) -> bool:
        """Whether not even pg_dump alone can: unused shared memory gives room for about half more, never for twice."""
        return self.in_use + self.objects > 2 * self.with_own_processes + _SPARE_LOCKS

    @property
    def needed_setting(self) -> int:
        """The value of max_locks_per_transaction with which everything has room."""
        return -(-(self.in_use + self.objects) * self.per_transaction // self.documented)


@contextmanager
def export_snapshot(endpoint: Endpoint, lock: timedelta) -> Iterator[ExportedSnapshot]:
    """Yield a snapshot. Inside this context other connections can use it, and no table can be altered or truncated.

    If the server has too little room for locks, call require_unchanged() once pg_dump has locked the tables.
    """
    import psycopg

    connection = endpoint.connect(autocommit=True)
    try:
        yield _take(connection, endpoint, lock)
    except psycopg.Error as error:  # also from the caller's queries on the connection of the snapshot
        raise translate_error(error) from None
    finally:
        with suppress(psycopg.Error):
            connection.close()


def require_same_names(snapshot: ExportedSnapshot) -> None:
    """Raise if a table had another name meanwhile, or if the connection of the snapshot broke, and with it its locks.

    pg_dump and psql find tables by name: after two schemas swapped their names, they read the rows of other tables.
    """
    rows = snapshot.connection.execute(_RENAMED, [[table.oid for table in snapshot.tables]]).fetchall()
    if rows:
        raise Transient(
            "schemas were renamed during the dump, so rows of other tables can be in it "
            f"({and_more([name for (name,) in rows], _SHOWN)}); try again"
        )


def _take(connection: psycopg.Connection[Any], endpoint: Endpoint, lock: timedelta) -> ExportedSnapshot:
    connection.execute(DISABLE_TIMEOUTS)
    connection.execute(REFUSE_VIEWS)
    _end_query_with_client(connection)
    for _ in range(_MAX_ATTEMPTS):
        tables = _read_tables(connection)
        room = _read_room(connection, len(tables))
        if room.hopeless:
            raise BackupError(f"{endpoint.database}: {describe_room(room)}")
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(f"SET LOCAL lock_timeout = {milliseconds(lock)}")
        if not room.for_holder:
            exported = _export(connection)
            return replace(exported, versions=_read_versions(connection, exported.tables))
        if lock_tables(connection, tables, endpoint, lock):
            exported = _export(connection)
            if {table.oid for table in exported.tables} <= {table.oid for table in tables}:
                return exported
        connection.execute("ROLLBACK")
    raise Transient(
        f"{endpoint.database}: tables are created and dropped faster than they can be locked; try again later"
    )


def _end_query_with_client(connection: psycopg.Connection[Any]) -> None:
    """Let the server end a query whose client is gone. Without it, a count runs on after its runner was killed.

    PostgreSQL 13 and servers on some systems cannot do this.
    """
    import psycopg

    if connection.info.server_version >= 140000:
        with suppress(psycopg.errors.InvalidParameterValue):
            connection.execute("SET client_connection_check_interval = '2s'")


def _export(connection: psycopg.Connection[Any]) -> ExportedSnapshot:
    [name] = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone() or [""]
    return ExportedSnapshot(connection, name, tuple(_with_sizes(connection, _read_tables(connection))))


def describe_room(room: LockRoom) -> str:
    """Return why a database cannot be dumped, and the setting that helps."""
    return (
        f"pg_dump locks each of its {room.objects:,} tables and sequences, and the server has room for about "
        f"{room.documented:,} locks, {room.in_use:,} of them in use; set max_locks_per_transaction = "
        f"{room.needed_setting} or more (now {room.per_transaction}), and restart the server"
    )


def require_unchanged(endpoint: Endpoint, snapshot: ExportedSnapshot) -> None:
    """Raise if a table has changed between the snapshot and the locks of pg_dump. Call it once pg_dump has them."""
    if snapshot.versions is None:
        return
    with translated_errors(), endpoint.connect(autocommit=True) as connection:
        now = _read_versions(connection, snapshot.tables)
    changed = [table.quoted for table in snapshot.tables if now.get(table.oid) != snapshot.versions.get(table.oid)]
    if changed:
        raise Transient(
            f"{endpoint.database}: tables were altered, truncated or dropped while pg_dump started "
            f"({and_more(changed, _SHOWN)}), and the server has no room to lock them before; try again"
        )


def _read_versions(connection: psycopg.Connection[Any], tables: Sequence[Table]) -> dict[int, str]:
    return dict(connection.execute(_VERSIONS, [[table.oid for table in tables]]).fetchall())


def _read_room(connection: psycopg.Connection[Any], tables: int) -> LockRoom:
    documented, with_own_processes, per_transaction, in_use, sequences = (
        connection.execute(_ROOM).fetchone() or (0,) * 5
    )
    return LockRoom(int(documented), int(with_own_processes), per_transaction, in_use, tables + sequences)


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
