"""Decide which SQL statements give a PostgreSQL server the roles and databases in group data."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploys.lib import passwords
from deploys.lib.group_data import unknown_keys

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
READ_ALL_DATA = "pg_read_all_data"


@dataclass(frozen=True)
class DesiredRole:
    """A role in the group data."""

    name: str
    password: str = field(repr=False)  # "" if it has none
    member_of: frozenset[str] = frozenset()
    bypasses_rls: bool = False


@dataclass(frozen=True)
class DesiredDatabase:
    """A database in the group data."""

    name: str
    owner: str
    readers: frozenset[str] = frozenset()  # roles that can connect, besides the owner


@dataclass(frozen=True)
class ExistingRole:
    """A role on the server."""

    verifier: str = field(repr=False)
    login: bool
    bypasses_rls: bool
    privileged: bool  # SUPERUSER, CREATEDB, CREATEROLE or REPLICATION
    member_of: frozenset[str]


@dataclass(frozen=True)
class ExistingDatabase:
    """A database on the server."""

    owner: str
    connect: frozenset[str]  # roles with the privilege CONNECT; "public" is everyone


EXISTING_QUERY = """
SELECT pg_catalog.json_build_object(
  'roles', (SELECT pg_catalog.json_object_agg(rolname, pg_catalog.json_build_object(
    'verifier', coalesce(rolpassword, ''), 'login', rolcanlogin, 'bypasses_rls', rolbypassrls,
    'privileged', rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication,
    'member_of', ARRAY(SELECT g.rolname
                       FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
                       WHERE m.member = a.oid))) FROM pg_catalog.pg_authid a),
  'databases', (SELECT pg_catalog.json_object_agg(datname, pg_catalog.json_build_object(
    'owner', pg_catalog.pg_get_userbyid(datdba),
    'connect', ARRAY(SELECT CASE e.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(e.grantee) END
                      FROM pg_catalog.aclexplode(coalesce(datacl, pg_catalog.acldefault('d', datdba))) e
                      WHERE e.privilege_type = 'CONNECT'))) FROM pg_catalog.pg_database))
"""


def parse_existing(answer: Mapping[str, Any]) -> tuple[dict[str, ExistingRole], dict[str, ExistingDatabase]]:
    """Return roles and databases by name, from the JSON that EXISTING_QUERY returns."""
    roles = {
        name: ExistingRole(**{**role, "member_of": frozenset(role["member_of"])})
        for name, role in answer.get("roles", {}).items()
    }
    databases = {
        name: ExistingDatabase(database["owner"], frozenset(database["connect"]))
        for name, database in answer.get("databases", {}).items()
    }
    return roles, databases


def faults(roles: Sequence[Mapping[str, Any]], databases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each fault in the group data."""
    for kind, given, known in (
        ("postgres_roles", roles, {"name", "password", "database", "read_only"}),
        ("postgres_databases", databases, {"name", "owner", "readers"}),
    ):
        for entry in given:
            name = entry.get("name", "?")
            if not NAME.fullmatch(str(name)) or str(name).startswith("pg_") or name in {"postgres", "public"}:
                yield (
                    f"{kind}: {name!r} is not allowed; use a-z, 0-9, - and _, with a letter first, "
                    "and none of PostgreSQL's own names"
                )
            yield from unknown_keys(f"{kind}: {name}", entry, known)
            if kind == "postgres_roles":
                yield from passwords.faults(f"{kind}: {name}: password", entry.get("password"))
                if entry.get("read_only") and entry.get("database"):
                    yield f"{kind}: {name}: a role that owns a database can write to it; remove read_only or database"
        names = [entry.get("name") for entry in given]
        yield from (
            f"{kind}: {name} is listed twice; keep one"
            for name in sorted({str(n) for n in names if names.count(n) > 1})
        )
    role_names = {str(role.get("name")) for role in roles}
    for database in databases:
        for role in sorted({str(database.get("owner")), *database.get("readers", ())} - role_names):
            yield f"postgres_databases: {database.get('name')}: {role} is not in postgres_roles; add it"


def desired_state(
    roles: Sequence[Mapping[str, Any]], databases: Sequence[Mapping[str, Any]], backup: Mapping[str, Any]
) -> tuple[list[DesiredRole], list[DesiredDatabase]]:
    """Return the roles and databases in group data, with the backup role and the databases that roles own."""
    logins = [
        DesiredRole(role["name"], _password(role), frozenset({READ_ALL_DATA} if role.get("read_only") else ()))
        for role in roles
    ]
    backup_role = (
        [DesiredRole(backup["name"], _password(backup), frozenset({READ_ALL_DATA}), bypasses_rls=True)]
        if backup
        else []
    )
    readers = frozenset(role.name for role in backup_role)
    listed = [
        DesiredDatabase(given["name"], given["owner"], frozenset(given.get("readers", ())) | readers)
        for given in databases
    ]
    own = [DesiredDatabase(role["name"], role["name"], readers) for role in roles if role.get("database")]
    return [*logins, *backup_role], [*listed, *own]


def _password(role: Mapping[str, Any]) -> str:
    return passwords.reveal(f"password of {role['name']}", role["password"])


def change_statements(
    roles: Sequence[DesiredRole],
    databases: Sequence[DesiredDatabase],
    existing_roles: Mapping[str, ExistingRole],
    existing_databases: Mapping[str, ExistingDatabase],
) -> list[str]:
    """Return the SQL statements to run, in order; none if everything is up to date."""
    return [
        *(line for role in roles for line in _role_statements(role, existing_roles.get(role.name))),
        *(
            line
            for database in databases
            for line in _database_statements(database, existing_databases.get(database.name))
        ),
    ]


def _role_statements(role: DesiredRole, existing: ExistingRole | None) -> Iterator[str]:
    row_security = "BYPASSRLS" if role.bypasses_rls else "NOBYPASSRLS"
    attributes = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION {row_security}"
    if existing is None:
        yield f'CREATE ROLE "{role.name}" {attributes}'
    elif existing.privileged or not existing.login or existing.bypasses_rls != role.bypasses_rls:
        yield f'ALTER ROLE "{role.name}" {attributes}'
    if not role.password:
        if existing and existing.verifier:
            yield f'ALTER ROLE "{role.name}" PASSWORD NULL'
    elif existing is None or not passwords.matches_verifier(role.password, existing.verifier):
        yield f"ALTER ROLE \"{role.name}\" PASSWORD '{passwords.scram_verifier(role.password)}'"
    granted = existing.member_of if existing else frozenset()
    yield from (f'GRANT "{group}" TO "{role.name}"' for group in sorted(role.member_of - granted))


def _database_statements(database: DesiredDatabase, existing: ExistingDatabase | None) -> Iterator[str]:
    if existing is None:
        yield f'CREATE DATABASE "{database.name}" OWNER "{database.owner}"'
    elif existing.owner != database.owner:
        yield f'ALTER DATABASE "{database.name}" OWNER TO "{database.owner}"'
    if existing is None or "public" in existing.connect:
        yield f'REVOKE ALL ON DATABASE "{database.name}" FROM PUBLIC'
    can_connect = existing.connect if existing else frozenset()
    yield from (
        f'GRANT CONNECT ON DATABASE "{database.name}" TO "{reader}"'
        for reader in sorted(database.readers - can_connect)
    )
    others = can_connect - database.readers - {"public", database.owner, "postgres"}
    yield from (f'REVOKE ALL ON DATABASE "{database.name}" FROM "{other}"' for other in sorted(others))


def large_object_grants(backup: str) -> str:
    """Return a query for the GRANT statements that let the backup role read each large object; no rows if it can."""
    is_granted = f"a.privilege_type = 'SELECT' AND a.grantee = '\"{backup}\"'::pg_catalog.regrole"
    return (
        f"SELECT pg_catalog.format('GRANT SELECT ON LARGE OBJECT %s TO %I', oid, '{backup}') "  # noqa: S608 - names are checked, see NAME
        "FROM pg_catalog.pg_largeobject_metadata "
        f"WHERE NOT EXISTS (SELECT FROM pg_catalog.aclexplode(lomacl) a WHERE {is_granted})"
    )
