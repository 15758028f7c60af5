"""Count the rows of tables with COPY.

To plan a query, PostgreSQL computes constant parts of index expressions and statistics objects with the rights of the
current user, even in a read-only transaction. So any query on a table can call functions of its owner as a superuser.
COPY of a whole table plans nothing, and it refuses a view. It converts no values either: a database can contain bytes
that no other encoding has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import server_encoding

if TYPE_CHECKING:
    import psycopg

# The shortest column of each table, and whether the server may write the rows into its own /dev/null.
_COLUMNS = """
SELECT c.oid, (
    SELECT attname FROM pg_catalog.pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ORDER BY attlen < 0, attlen, attnum LIMIT 1),
  pg_catalog.pg_has_role('pg_write_server_files'::pg_catalog.name, 'USAGE')
    AND pg_catalog.version() !~* 'visual c|msvc|mingw|windows'
FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s)
"""


def count_tables(connection: psycopg.Connection[Any], tables: Mapping[int, str]) -> dict[int, int]:
    """Return the numbers of rows by OID. `tables` has their quoted names. The connection needs row_security = off."""
    found = {oid: (column, local) for oid, column, local in connection.execute(_COLUMNS, [list(tables)]).fetchall()}
    local, encoding = all(local for _, local in found.values()), server_encoding(connection)
    statements = [copy_statement(tables[oid], column, encoding, local=local) for oid, (column, _) in found.items()]
    count = _count_on_server if local else _count_here
    return dict(zip(found, count(connection, statements), strict=True))


def copy_statement(table: str, column: str | None, encoding: str, *, local: bool) -> str:
    """Return the COPY of one column, to /dev/null of the server if that is `local`. It copies no rows of children."""
    columns = f" ({quoting.identifier(column)})" if column is not None else ""
    to = quoting.literal("/dev/null") if local else "STDOUT"
    return f"COPY {table}{columns} TO {to} WITH (ENCODING {quoting.literal(encoding)})"


def _count_on_server(connection: psycopg.Connection[Any], statements: list[str]) -> list[int]:
    """Return the number of rows of each COPY to a file; all are sent at once."""
    if not statements:
        return []
    cursor = connection.execute("; ".join(statements).encode())
    counts = [cursor.rowcount]
    while cursor.nextset():
        counts.append(cursor.rowcount)
    return counts


def _count_here(connection: psycopg.Connection[Any], statements: list[str]) -> list[int]:
    """Return the number of rows of each COPY to us."""
    return [_count_rows(connection, statement) for statement in statements]


def _count_rows(connection: psycopg.Connection[Any], statement: str) -> int:
    """Return how many rows a COPY sends. psycopg waits for them; those that libpq has are read without psycopg."""
    count, size = 0, 0
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as rows:
        while size >= 0 and rows.read():
            count += 1
            while (size := connection.pgconn.get_copy_data(1)[0]) > 0:
                count += 1
        if size < 0:  # all rows are read, or an error ended them: psycopg does not know it yet
            _raise_if_failed(connection)
    return count


def _raise_if_failed(connection: psycopg.Connection[Any]) -> None:
    """Read the result of a COPY whose rows are read. Raise if it failed."""
    from psycopg.errors import error_from_result
    from psycopg.pq import ExecStatus

    for result in list(iter(connection.pgconn.get_result, None)):
        if result.status != ExecStatus.COMMAND_OK:
            raise error_from_result(result)
