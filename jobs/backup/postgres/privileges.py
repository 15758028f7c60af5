"""Privileges that a backup role needs, and a check for those that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

NEEDED_PRIVILEGES = (
    "a backup role needs to read every table, sequence and large object, and to bypass row security: grant it "
    "pg_read_all_data (14 and newer), BYPASSRLS, and SELECT on large objects"
)

_USER_SCHEMAS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"

_SUPERUSER = "SELECT rolsuper, rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user"

_UNREADABLE = f"""
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND {_USER_SCHEMAS} AND NOT (
  pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S'
  THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END)
ORDER BY 1
"""  # noqa: S608 - only constants

_ROW_SECURITY = f"""
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relrowsecurity AND {_USER_SCHEMAS}
  AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE'))
ORDER BY 1
"""  # noqa: S608 - only constants

_LARGE_OBJECTS = """
SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata l
WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off' AND NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
  AND NOT EXISTS (
  SELECT FROM pg_catalog.aclexplode(l.lomacl) a
  WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
"""


def missing_privileges(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield a phrase for each kind of object that the connected role can't read; none if it can back up everything."""
    superuser, bypasses_row_security = connection.execute(_SUPERUSER).fetchone() or (False, False)
    if superuser:
        return
    yield from _objects_phrase("can't be read", connection, _UNREADABLE)
    if not bypasses_row_security:
        yield from _objects_phrase("has row security, which hides rows", connection, _ROW_SECURITY)
    [hidden] = connection.execute(_LARGE_OBJECTS).fetchone() or [0]
    if hidden:
        yield f"{hidden} large objects can't be read"


def _objects_phrase(problem: str, connection: psycopg.Connection[Any], query: str) -> Iterator[str]:
    names = [name for (name,) in connection.execute(query.encode())]
    if names:
        others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        yield f"{names[0]}{others} {problem}"
