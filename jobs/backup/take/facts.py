"""What a manifest says of a server and a database, asked inside the snapshot."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import NO_LIMITS, Reached, verdict
from jobs.backup.sets.manifest import Extension, Last, Rows, Server
from jobs.backup.take.parts import Table
from jobs.backup.take.snapshot import Snapshot, lock_all

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

COUNTED_AT_ONCE = 20

_SERVER = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
       has_function_privilege('pg_control_system()', 'EXECUTE'), has_table_privilege('pg_authid', 'SELECT')
"""

# All but indexes, views that are filled anew, and catalogs; large objects lie in one, and are dumped.
_TO_DUMP = """
SELECT pg_database_size(current_database()) - sum(pg_relation_size(oid))::bigint FROM pg_class
WHERE NOT relisshared AND (relkind IN ('i', 'm')
    OR relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND relname <> 'pg_largeobject')
"""

_SEQUENCES = "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"

_EXTENSIONS = """
SELECT e.extname, e.extversion, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1
"""


def server(connection: Connection) -> Server:
    """Which server this is; managed ones may keep the identifier to themselves."""
    version, major, standby, may_ask, _ = _one(connection, _SERVER)
    identifier = str(_one(connection, "SELECT system_identifier FROM pg_control_system()")[0]) if may_ask else ""
    return Server(version.split(" ")[0], major, identifier, standby)


def to_dump(connection: Connection) -> int:
    """About how many bytes a dump will have: values that lie compressed become more, free room in tables none."""
    found: int = _one(connection, _TO_DUMP)[0]
    return found


def shows_passwords(connection: Connection) -> bool:
    """Whether this role may read the hashes of all roles' passwords."""
    return bool(_one(connection, _SERVER)[4])


def sequences(connection: Connection) -> tuple[Last, ...]:
    return tuple(Last(*row) for row in connection.execute(_SEQUENCES))


def extensions(connection: Connection) -> tuple[Extension, ...]:
    return tuple(Extension(*row) for row in connection.execute(_EXTENSIONS))


def large_objects(connection: Connection) -> int:
    found: int = _one(connection, "SELECT count(*) FROM pg_largeobject_metadata")[0]
    return found


def rows(tables: Sequence[Table], counts: dict[int, int]) -> tuple[Rows, ...]:
    """The manifest's list of tables; what was not counted is null."""
    leaves = sorted((table for table in tables if table.leaf and table.own), key=lambda t: (t.schema, t.name))
    return tuple(Rows(table.schema, table.name, counts.get(table.oid), table.bytes) for table in leaves)


def count(
    ending: Cancellation, reached: Reached, moment: Snapshot, lock: timedelta, *, standby: bool
) -> dict[int, int]:
    """The rows of each table inside the snapshot, on a connection of its own while the parts are dumped.

    All tables are locked at once, as pg_dump does: a count that came behind somebody's ALTER, which waits for the
    snapshot's holder, would wait for ever.
    """
    empty = {table.oid: 0 for table in moment.tables if table.unlogged and standby}
    asked = [table for table in moment.tables if table.leaf and table.own and table.oid not in empty]
    with _inside(ending, reached, moment.name) as connection:
        lock_all(connection, asked, reached, lock)
        for start in range(0, len(asked), COUNTED_AT_ONCE):
            batch = asked[start : start + COUNTED_AT_ONCE]
            counted = _one(connection, f"SELECT {', '.join(counting(table) for table in batch)}")
            empty |= {table.oid: number for table, number in zip(batch, counted, strict=True)}
    return empty


def counting(table: Table) -> str:
    return f"(SELECT count(*) FROM ONLY {table.quoted})"  # noqa: S608 - quoted


@contextmanager
def _inside(ending: Cancellation, reached: Reached, snapshot: str) -> Iterator[Connection]:
    """A connection that sees the snapshot, and gives up its query when anything else fails."""
    import psycopg

    with reached.connect(autocommit=True) as connection, ending.ends(partial(_give_up, connection)):
        try:
            connection.execute(NO_LIMITS)
            connection.execute("SET row_security = off; SET max_parallel_workers_per_gather = 0")
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackupError(f"{error.diag.message_primary}; {privileges.NEEDED}") from None
        except psycopg.Error as error:
            raise verdict(error) from None


def _give_up(connection: Connection) -> None:
    """End its query, and if the server can't be reached for that, the wait for its answer."""
    with suppress(Exception):
        connection.cancel_safe(timeout=2)
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _one(connection: Connection, query: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] | None = connection.execute(query.encode()).fetchone()
    if found is None:
        raise LookupError(query)
    return found
