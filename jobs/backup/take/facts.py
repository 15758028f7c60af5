"""Facts about a server and a database, read inside the snapshot."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres import counting, privileges, quoting
from jobs.backup.postgres.connection import translate_error
from jobs.backup.sets.description import Extension, SequenceValue, TableRows
from jobs.backup.sets.manifest import SourceServer
from jobs.backup.take.parts import Table, candidates
from jobs.backup.take.snapshot import ExportedSnapshot

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

TABLES_PER_QUERY = 100  # each can be a lock more than those of pg_dump

_SERVER = """
SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_setting('server_version_num')::int / 10000,
       pg_catalog.pg_is_in_recovery(),
       pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE'),
       pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')
"""

_IDENTIFIER = "SELECT system_identifier FROM pg_catalog.pg_control_system()"

_LARGE_OBJECTS_SIZE = "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')"

# Without the members of extensions, which a dump does not contain.
_SEQUENCES = """
SELECT schemaname, sequencename, last_value FROM pg_catalog.pg_sequences s
JOIN pg_catalog.pg_namespace n ON n.nspname = schemaname
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = sequencename
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""

# The owner of an extension can add own tables to it, which no dump contains then. The extension can mark its tables as
# user data; the others that its script has created belong to a superuser.
_ADDED_TO_EXTENSIONS = """
SELECT pg_catalog.format('%I.%I', nspname, relname) FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace JOIN pg_catalog.pg_roles r ON r.oid = relowner
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.oid = d.refobjid
WHERE relkind IN ('r', 'p') AND d.deptype = 'e' AND NOT rolsuper
  AND c.oid <> ALL (COALESCE(extconfig, '{}'::pg_catalog.oid[])) ORDER BY 1
"""

# Under a lock, the server's own function has the file of now, and the catalog that of the snapshot.
_CHANGED = """
SELECT oid FROM pg_catalog.pg_class WHERE oid = ANY (%s) AND relfilenode <> pg_catalog.pg_relation_filenode(oid)
"""

# What psql needs to know of big tables. pg_dump writes a leaf of a table that is partitioned by the hash of an enum as
# rows of the whole table, because an enum has other hashes in another database.
_BIG_TABLES = """
SELECT c.oid, ARRAY(SELECT attname::pg_catalog.text FROM pg_catalog.pg_attribute
                    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum),
       {pages}, {trusted}
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
JOIN pg_catalog.pg_database d ON datname = pg_catalog.current_database()
WHERE c.oid = ANY (%s) AND NOT (relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()) AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) a
    JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = a.relid
    JOIN pg_catalog.pg_opclass o ON o.oid = ANY (p.partclass::pg_catalog.oid[])
    WHERE partstrat = 'h' AND opcname = 'enum_ops')
"""

# Older servers read all pages for a query by pages.
_PAGES = """
CASE WHEN relam = (SELECT oid FROM pg_catalog.pg_am WHERE amname = 'heap')
THEN pg_catalog.pg_relation_size(c.oid) / pg_catalog.current_setting('block_size')::int8 ELSE 0 END
"""

# Whether a query by pages calls no code of an ordinary role: superusers or we ourselves own the table, its schema and
# its database, and no index and statistics object uses a function, operator or type of users. Only an owner can replace
# the table or add an index meanwhile.
_TRUSTED = """
  NOT EXISTS (
    SELECT FROM pg_catalog.pg_roles WHERE oid IN (relowner, nspowner, datdba)
    AND NOT rolsuper AND rolname <> session_user AND rolname <> 'pg_database_owner')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attgenerated = 'v')
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend
    WHERE refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass,
                         'pg_catalog.pg_type'::pg_catalog.regclass)
    AND (classid = 'pg_catalog.pg_class'::pg_catalog.regclass
         AND objid IN (SELECT indexrelid FROM pg_catalog.pg_index WHERE indrelid = c.oid)
      OR classid = 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass
         AND objid IN (SELECT oid FROM pg_catalog.pg_statistic_ext WHERE stxrelid = c.oid)))
"""
_FIRST_WITH_PAGE_RANGES = 140000

# The settings of pg_dump's own session, and those that let a query on a table call less. Older servers lack some.
_COPY_SETTINGS = {
    **{"DateStyle": "ISO", "IntervalStyle": "postgres", "extra_float_digits": "3"},
    **{"synchronize_seqscans": "off", "row_security": "off", "restrict_nonsystem_relation_kind": "view, foreign-table"},
    **{"statement_timeout": "0", "idle_in_transaction_session_timeout": "0", "transaction_timeout": "0"},
    **{"constraint_exclusion": "off", "max_parallel_workers_per_gather": "0", "jit": "off"},
}

_KNOWN_SETTINGS = """
SELECT name FROM pg_catalog.unnest(%s::pg_catalog.text[]) AS name
WHERE pg_catalog.current_setting(name, true) IS NOT NULL
"""

_EXTENSIONS = """
SELECT e.extname, e.extversion, n.nspname
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1
"""


def read_server(connection: Connection) -> tuple[SourceServer, bool]:
    """Return the facts about the server, and whether this role can read the password hashes of all roles.

    The system identifier is "" where managed servers hide it.
    """
    version, major, standby, can_read_identifier, can_read_passwords = _one(connection, _SERVER)
    identifier = str(_one(connection, _IDENTIFIER)[0]) if can_read_identifier else ""
    return SourceServer(version.split(" ")[0], major, identifier, standby), can_read_passwords


def estimate_dump_bytes(connection: Connection, tables: Sequence[Table]) -> int:
    """Estimate the size of a dump: too low for values stored compressed, too high for free space in tables.

    Asks for no sizes again: in a database with many tables, that takes as long as to dump them.
    """
    large_objects: int = _one(connection, _LARGE_OBJECTS_SIZE)[0]
    return sum(table.bytes for table in tables) + large_objects


def with_columns(connection: Connection, tables: Sequence[Table], *, trust_owners: bool) -> tuple[Table, ...]:
    """Return the tables; those that are big enough for segments with their columns and pages."""
    big = [table.oid for table in candidates(tables)]
    if not big:
        return tuple(tables)
    can_divide = connection.info.server_version >= _FIRST_WITH_PAGE_RANGES
    query = _BIG_TABLES.format(
        pages=_PAGES if can_divide else "0", trusted="true" if trust_owners or not can_divide else _TRUSTED
    )
    rows = connection.execute(query.encode(), [big])
    found = {
        oid: {"columns": tuple(columns), "pages": pages, "trusted": trusted}
        for oid, columns, pages, trusted in rows.fetchall()
    }
    return tuple(replace(table, **found.get(table.oid, {})) for table in tables)


def copy_settings(connection: Connection) -> tuple[str, ...]:
    """Return the statements that prepare a session of this server for COPY, as pg_dump prepares its own."""
    known = {name for (name,) in connection.execute(_KNOWN_SETTINGS, [[*_COPY_SETTINGS]]).fetchall()}
    return tuple(f"SET {name} = {quoting.literal(value)}" for name, value in _COPY_SETTINGS.items() if name in known)


def read_sequences(connection: Connection) -> tuple[SequenceValue, ...]:
    with _savepoint(connection):  # the server locks each sequence to read it
        return tuple(SequenceValue(*row) for row in connection.execute(_SEQUENCES).fetchall())


def read_extensions(connection: Connection) -> tuple[Extension, ...]:
    return tuple(Extension(*row) for row in connection.execute(_EXTENSIONS))


def tables_added_to_extensions(connection: Connection) -> list[str]:
    """Return the tables that no dump contains, because they belong to an extension."""
    return [name for (name,) in connection.execute(_ADDED_TO_EXTENSIONS).fetchall()]


def count_large_objects(connection: Connection) -> int:
    number: int = _one(connection, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata")[0]
    return number


def table_rows(tables: Sequence[Table], counts: Mapping[int, int]) -> tuple[TableRows, ...]:
    """Return the tables for the description; rows is None where they were not counted."""
    leaves = sorted((table for table in tables if table.leaf and table.own), key=lambda t: (t.schema, t.name))
    return tuple(TableRows(table.schema, table.name, counts.get(table.oid), table.bytes) for table in leaves)


def count_rows(
    cancellation: Cancellation, snapshot: ExportedSnapshot, *, standby: bool, counted: Collection[int] = ()
) -> dict[int, int]:
    """Count the rows of each table in the snapshot, while the parts are dumped. Return the counts by OID.

    Tables that are `counted` in another way are skipped.

    The connection of the snapshot counts: it has locked the tables already. If it has not, a table is not counted once
    it has changed, or while another session waits to change it. That session waits for our dump, so to queue behind it
    would be a deadlock.
    """
    counts = {table.oid: 0 for table in snapshot.tables if table.unlogged and standby}
    tables = [table for table in snapshot.tables if table.leaf and table.own and table.oid not in {*counts, *counted}]
    with _counting(cancellation, snapshot.connection) as connection:
        for start in range(0, len(tables), TABLES_PER_QUERY):
            counts |= _count_batch(connection, tables[start : start + TABLES_PER_QUERY])
    return counts


def _count_batch(connection: Connection, tables: Sequence[Table]) -> dict[int, int]:
    """Return the counts of those tables that can be counted. The locks, also those of the indexes, are given back."""
    import psycopg

    oids = [table.oid for table in tables]
    try:
        with _savepoint(connection):
            names = ", ".join(f"ONLY {table.quoted}" for table in tables)
            connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE NOWAIT".encode())
            changed = {oid for (oid,) in connection.execute(_CHANGED, [oids]).fetchall()}
            counts = counting.count_tables(connection, {table.oid: table.quoted for table in tables})
    except (psycopg.errors.LockNotAvailable, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName,
            psycopg.errors.UndefinedColumn, psycopg.errors.WrongObjectType):  # fmt: skip
        if len(tables) == 1:
            return {}
        return {oid: number for table in tables for oid, number in _count_batch(connection, [table]).items()}
    return {oid: number for oid, number in counts.items() if oid not in changed}


@contextmanager
def _counting(cancellation: Cancellation, connection: Connection) -> Iterator[Connection]:
    """Yield the connection for counts; if another task fails, its query is cancelled."""
    import psycopg

    try:
        with cancellation.on_cancel(partial(_cancel_query, connection)):
            connection.execute("SET row_security = off")
            yield connection
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(f"{error.diag.message_primary}; {privileges.NEEDED_PRIVILEGES}") from None
    except psycopg.Error as error:
        raise translate_error(error) from None


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Give back all locks at the end of the block."""
    import psycopg

    connection.execute("SAVEPOINT locks")
    try:
        yield
    finally:
        with suppress(psycopg.OperationalError):  # the block has the reason
            connection.execute("ROLLBACK TO SAVEPOINT locks; RELEASE SAVEPOINT locks")


def _cancel_query(connection: Connection) -> None:
    """Cancel the query, and shut down the socket: a cancellation that arrives before the query has no effect."""
    with suppress(Exception):
        connection.cancel_safe(timeout=2)
    with socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)


def _one(connection: Connection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query.encode()).fetchone()
    if row is None:
        raise LookupError(query)
    return row
