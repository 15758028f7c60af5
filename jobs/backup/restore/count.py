"""Count what a restored database contains."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.postgres.counting import count_tables
from jobs.backup.restore.compare import Contents, QualifiedName, SequenceState
from jobs.backup.restore.connections import in_parallel
from jobs.backup.restore.task import RestoreTask

if TYPE_CHECKING:
    import psycopg

_TABLES = """SELECT nspname, relname, c.oid, relforcerowsecurity AND pg_catalog.row_security_active(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind = 'r' AND relpersistence <> 't'"""
_SEQUENCES = "SELECT schemaname, sequencename, last_value, increment_by FROM pg_catalog.pg_sequences"
_LARGE_OBJECTS = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata"


def count_contents(
    task: RestoreTask,
    only: frozenset[QualifiedName] | None = None,
    *,
    known: Mapping[QualifiedName, int] = MappingProxyType({}),
) -> Contents:
    """Count the rows of all tables that the set has counts for, or of `only` these tables, but not of `known` ones."""
    with translated_errors(), task.into.connect(autocommit=True) as connection:
        found = connection.execute(_TABLES).fetchall()
        tables = {(schema, name): (oid, is_hidden) for schema, name, oid, is_hidden in found}
        sequences = {
            (schema, name): SequenceState(last, increment)
            for schema, name, last, increment in connection.execute(_SEQUENCES).fetchall()
        }
        [large_objects] = connection.execute(_LARGE_OBJECTS).fetchone() or (0,)
    counted = [
        (table.schema, table.name)
        for table in task.stored.description.tables
        if table.rows is not None
        and (table.schema, table.name) in tables
        and (table.schema, table.name) not in known
        and (only is None or (table.schema, table.name) in only)
    ]
    counts = in_parallel(task.into, [partial(_count, *tables[name], name) for name in counted], task.streams, task.run)
    rows: dict[QualifiedName, int | None] = dict.fromkeys(tables)
    rows.update(zip(counted, counts, strict=True))
    rows.update((name, number) for name, number in known.items() if name in tables)
    return Contents(rows, sequences, large_objects)


def _count(oid: int, is_hidden: bool, name: QualifiedName, connection: psycopg.Connection[Any]) -> int | None:
    """Return the number of rows; None if the table was dropped meanwhile.

    Forced row security can hide rows even from the owner of a table. It is off until the transaction is rolled back.
    """
    quoted = quoting.identifier(*name)
    if not is_hidden:
        return count_tables(connection, {oid: quoted}).get(oid)
    with connection.transaction(force_rollback=True):
        connection.execute(f"ALTER TABLE ONLY {quoted} NO FORCE ROW LEVEL SECURITY".encode())
        return count_tables(connection, {oid: quoted}).get(oid)
