"""What follows the rows of a restored database: statistics and materialised views."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.restore.compare import QualifiedName
from jobs.backup.restore.connections import in_parallel
from jobs.backup.restore.task import RestoreTask
from jobs.format import and_more
from jobs.run.job import Run

if TYPE_CHECKING:
    import psycopg

_SHOWN = 5
_SMALL_SAMPLE = "-c default_statistics_target=1"

_FIRST_WITH_ONLY = 18

# Before PostgreSQL 18, ANALYZE of a partitioned table analyses its partitions, too.
_TABLES = """WITH listed AS (SELECT c.oid, c.relispartition
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'm', 'p') AND relpersistence <> 't' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND (%(all)s OR (nspname, relname) IN (SELECT * FROM ROWS FROM (
        pg_catalog.unnest(%(schemas)s::name[]), pg_catalog.unnest(%(names)s::name[])))))
SELECT oid::pg_catalog.regclass::pg_catalog.text FROM listed
    WHERE %(each)s OR NOT relispartition OR (NOT %(all)s AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_partition_ancestors(listed.oid) ancestor
        JOIN listed parent ON parent.oid = ancestor.relid WHERE parent.oid <> listed.oid))
    ORDER BY COALESCE((SELECT pg_catalog.sum(pg_catalog.pg_relation_size(relid))
        FROM pg_catalog.pg_partition_tree(oid)), pg_catalog.pg_relation_size(oid)) DESC"""


# A view reads more relations, directly or not, than each view that it reads.
_MATERIALISED_VIEWS = """WITH RECURSIVE direct AS (
        SELECT DISTINCT r.ev_class AS view, d.refobjid AS used
        FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
            ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
        WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class),
    reads AS (SELECT view, used FROM direct JOIN pg_catalog.pg_class m ON m.oid = view AND m.relkind = 'm' UNION
        SELECT reads.view, direct.used FROM reads JOIN direct ON direct.view = reads.used)
    SELECT c.oid::pg_catalog.regclass::pg_catalog.text, o.rolname, NOT o.rolsuper AND NOT o.rolbypassrls
        AND pg_catalog.bool_or(t.relrowsecurity
            AND (t.relforcerowsecurity OR NOT pg_catalog.pg_has_role(o.oid, t.relowner, 'USAGE'))),
        pg_catalog.array_agg(t.oid::pg_catalog.regclass::pg_catalog.text)
            FILTER (WHERE t.relrowsecurity AND pg_catalog.pg_has_role(t.relowner, 'USAGE'))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
    LEFT JOIN reads ON reads.view = c.oid LEFT JOIN pg_catalog.pg_class t ON t.oid = reads.used
    WHERE c.relkind = 'm' AND c.relispopulated GROUP BY c.oid, o.oid, o.rolname, o.rolsuper, o.rolbypassrls
    ORDER BY pg_catalog.count(reads.used), c.oid"""


def analyze(task: RestoreTask, command: str = "ANALYZE", only: Collection[QualifiedName] | None = None) -> None:
    """Collect statistics of all tables, or of `only` these, the biggest first. Without them, first queries are slow.

    ANALYZE sees all rows; only a function of an index can meet a policy.
    """
    schemas, names = [schema for schema, _ in only or ()], [name for _, name in only or ()]
    with translated_errors(), task.executes.connect(autocommit=True) as connection:
        each = connection.info.server_version // 10000 >= _FIRST_WITH_ONLY
        values = {"all": only is None, "schemas": schemas, "names": names, "each": each}
        tables = [name for (name,) in connection.execute(_TABLES, values).fetchall()]
    command = f"{command} ONLY" if each else command
    statements = [partial(_execute, f"{command} {name}") for name in tables]
    into = task.executes.with_options(_SMALL_SAMPLE) if task.small_sample else task.executes
    in_parallel(into, statements, task.streams, task.run, row_security="on")


def refresh_materialised_views(task: RestoreTask) -> None:
    """Refresh all materialised views that have rows, those that others read first.

    Row security of their tables is off meanwhile, as in a restore: nobody else can connect to the database yet.
    """
    views = _materialised_views(task.executes)
    tables = sorted({table for _, _, _, of_view in views for table in of_view or ()})
    statements = [
        *(f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY" for name in tables),
        *(f"REFRESH MATERIALIZED VIEW {name}" for name, *_ in views),
        *(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY" for name in tables),
    ]
    execute_all(task.executes, statements, 1, task.run)


def views_of_hidden_rows(task: RestoreTask) -> tuple[str, ...]:
    """Return a note if materialised views have rows that row security hides from the owners of these views."""
    views = [f"{name} of {owner}" for name, owner, hides, _ in _materialised_views(task.into) if hides]
    if not views:
        return ()
    fact = "materialised views have all rows of their tables, also those that row security hides from the view's owner"
    return (f"{fact}: {and_more(views, _SHOWN)}; REFRESH MATERIALIZED VIEW applies the policies",)


def _materialised_views(into: Endpoint) -> list[tuple[str, str, bool, list[str] | None]]:
    """Return the name and the owner of each view that has rows, and whether row security hides rows from its owner.

    The last value names the tables with row security that it reads and that belong to the role of this connection.
    """
    with translated_errors(), into.connect(autocommit=True) as connection:
        return connection.execute(_MATERIALISED_VIEWS).fetchall()


def execute_all(into: Endpoint, statements: Sequence[str], connections: int, run: Run) -> None:
    """Execute statements over several connections. A policy that hides rows from one is an error."""
    in_parallel(into, [partial(_execute, statement) for statement in statements], connections, run)


def _execute(statement: str, connection: psycopg.Connection[Any]) -> None:
    connection.execute(statement.encode())
