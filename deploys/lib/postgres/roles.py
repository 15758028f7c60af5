"""The roles and databases that a PostgreSQL server should have, and the statements that bring it there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploys.lib import passwords

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
BACKUP_READS = "pg_read_all_data"


@dataclass(frozen=True)
class Role:
    name: str
    password: str = field(repr=False)
    member_of: frozenset[str] = frozenset()
    past_row_security: bool = False


@dataclass(frozen=True)
class Database:
    name: str
    owner: str
    readers: frozenset[str] = frozenset()  # who may connect, beside the owner


@dataclass(frozen=True)
class FoundRole:
    verifier: str = field(repr=False)
    login: bool
    past_row_security: bool
    powers: bool  # superuser, or may make databases, roles or replicas
    member_of: frozenset[str]


@dataclass(frozen=True)
class FoundDatabase:
    owner: str
    connects: frozenset[str]


ASK = """
SELECT json_build_object(
  'roles', (SELECT json_object_agg(rolname, json_build_object(
    'verifier', coalesce(rolpassword, ''), 'login', rolcanlogin, 'past_row_security', rolbypassrls,
    'powers', rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication,
    'member_of', ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                       WHERE m.member = a.oid))) FROM pg_authid a),
  'databases', (SELECT json_object_agg(datname, json_build_object(
    'owner', pg_get_userbyid(datdba),
    'connects', ARRAY(SELECT CASE e.grantee WHEN 0 THEN 'public' ELSE pg_get_userbyid(e.grantee) END
                      FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) e
                      WHERE e.privilege_type = 'CONNECT'))) FROM pg_database))
"""


def found(told: Mapping[str, Any]) -> tuple[dict[str, FoundRole], dict[str, FoundDatabase]]:
    """What ASK answered."""
    roles = {
        name: FoundRole(**{**role, "member_of": frozenset(role["member_of"])})
        for name, role in told.get("roles", {}).items()
    }
    databases = {
        name: FoundDatabase(one["owner"], frozenset(one["connects"])) for name, one in told.get("databases", {}).items()
    }
    return roles, databases


def faults(roles: Sequence[Mapping[str, Any]], databases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What is wrong in the group data, each in a sentence."""
    for kind, given, known in (
        ("postgres_roles", roles, {"name", "password", "database"}),
        ("postgres_databases", databases, {"name", "owner", "readers"}),
    ):
        for one in given:
            name = one.get("name", "?")
            if not NAME.fullmatch(str(name)) or str(name).startswith("pg_") or name in {"postgres", "public"}:
                yield f"{kind}: {name!r} is no name to give; use a-z, 0-9, - and _, a letter first; none of its own"
            if others := sorted(set(one) - known):
                yield f"{kind}: {name}: {', '.join(others)}: no such key; there are {', '.join(sorted(known))}"
            if kind == "postgres_roles":
                yield from passwords.faults(f"{kind}: {name}: password", one.get("password"))
        names = [one.get("name") for one in given]
        yield from (f"{kind}: {name} is there twice" for name in sorted({str(n) for n in names if names.count(n) > 1}))
    there = {role.get("name") for role in roles}
    for one in databases:
        for role in sorted({str(one.get("owner")), *one.get("readers", ())} - {str(name) for name in there}):
            yield f"postgres_databases: {one.get('name')}: {role} is not among postgres_roles; add it"


def read(
    roles: Sequence[Mapping[str, Any]], databases: Sequence[Mapping[str, Any]], backup: Mapping[str, Any]
) -> tuple[list[Role], list[Database]]:
    """Roles and databases as group data names them: with the role for backups, and a database for each who has one."""
    people = [Role(role["name"], _password(role)) for role in roles]
    keeper = (
        [Role(backup["name"], _password(backup), frozenset({BACKUP_READS}), past_row_security=True)] if backup else []
    )
    reads = frozenset(role.name for role in keeper)
    named = [Database(one["name"], one["owner"], frozenset(one.get("readers", ())) | reads) for one in databases]
    own = [Database(role["name"], role["name"], reads) for role in roles if role.get("database")]
    return [*people, *keeper], [*named, *own]


def _password(role: Mapping[str, Any]) -> str:
    return passwords.revealed(f"password of {role['name']}", role["password"])


def statements(
    roles: Sequence[Role],
    databases: Sequence[Database],
    there: Mapping[str, FoundRole],
    standing: Mapping[str, FoundDatabase],
) -> list[str]:
    """What is to be said to the server, in this order; nothing if all is as it should be."""
    return [
        *(line for role in roles for line in _for_role(role, there.get(role.name))),
        *(line for database in databases for line in _for_database(database, standing.get(database.name))),
    ]


def _for_role(role: Role, there: FoundRole | None) -> Iterator[str]:
    past = "BYPASSRLS" if role.past_row_security else "NOBYPASSRLS"
    rights = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION {past}"
    if there is None:
        yield f'CREATE ROLE "{role.name}" {rights}'
    elif there.powers or not there.login or there.past_row_security != role.past_row_security:
        yield f'ALTER ROLE "{role.name}" {rights}'
    if there is None or not passwords.fits(role.password, there.verifier):
        yield f"ALTER ROLE \"{role.name}\" PASSWORD '{passwords.verifier(role.password)}'"
    already = there.member_of if there else frozenset()
    yield from (f'GRANT "{group}" TO "{role.name}"' for group in sorted(role.member_of - already))


def _for_database(database: Database, there: FoundDatabase | None) -> Iterator[str]:
    if there is None:
        yield f'CREATE DATABASE "{database.name}" OWNER "{database.owner}"'
    elif there.owner != database.owner:
        yield f'ALTER DATABASE "{database.name}" OWNER TO "{database.owner}"'
    if there is None or "public" in there.connects:
        yield f'REVOKE ALL ON DATABASE "{database.name}" FROM PUBLIC'
    connects = there.connects if there else frozenset()
    yield from (
        f'GRANT CONNECT ON DATABASE "{database.name}" TO "{reader}"' for reader in sorted(database.readers - connects)
    )
    strangers = connects - database.readers - {"public", database.owner, "postgres"}
    yield from (f'REVOKE ALL ON DATABASE "{database.name}" FROM "{other}"' for other in sorted(strangers))


def large_objects(backup: str) -> str:
    """psql's input that lets a backup role read the large objects that are there; prints each that it could not yet."""
    may_read = f"a.privilege_type = 'SELECT' AND a.grantee = '\"{backup}\"'::regrole"
    return (
        f"SELECT format('GRANT SELECT ON LARGE OBJECT %s TO %I', oid, '{backup}') "  # noqa: S608 - names are checked, see NAME
        f"FROM pg_largeobject_metadata WHERE NOT EXISTS (SELECT FROM aclexplode(lomacl) a WHERE {may_read})"
    )
