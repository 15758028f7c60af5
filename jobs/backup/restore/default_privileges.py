"""Default privileges of a database: a new table gets them at once, before it has row security."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.restore.compare import QualifiedName

if TYPE_CHECKING:
    import psycopg

_PRIVILEGES = """SELECT n.nspname, c.relname, c.oid::pg_catalog.regclass::pg_catalog.text,
        CASE a.grantee WHEN 0 THEN 'PUBLIC'
            ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)::pg_catalog.text) END,
        pg_catalog.string_agg(a.privilege_type, ', '), a.is_grantable
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
        pg_catalog.aclexplode(c.relacl) a
    WHERE c.relkind IN ('r', 'p') AND a.grantee <> c.relowner AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    GROUP BY n.nspname, c.relname, c.oid, a.grantee, a.is_grantable"""


def revoke_privileges(connection: psycopg.Connection[Any], only: Collection[QualifiedName] | None = None) -> list[str]:
    """Revoke what other roles may do with all tables, or with some. Return the statements that grant it again."""
    grants = []
    for schema, name, table, role, privileges, can_grant in connection.execute(_PRIVILEGES).fetchall():
        if only is None or (schema, name) in only:
            connection.execute(f"REVOKE ALL ON TABLE {table} FROM {role}".encode())
            option = " WITH GRANT OPTION" if can_grant else ""
            grants.append(f"GRANT {privileges} ON TABLE {table} TO {role}{option}")
    return grants


def withhold_privileges(into: Endpoint, only: Collection[QualifiedName] | None = None) -> list[str]:
    """Do the same with a connection of its own."""
    with translated_errors(), into.connect() as connection:
        return revoke_privileges(connection, only)


def grant_privileges(into: Endpoint, grants: Iterable[str]) -> None:
    """Grant again what was revoked."""
    with translated_errors(), into.connect() as connection:
        for statement in grants:
            connection.execute(statement.encode())
