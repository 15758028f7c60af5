"""A role that exists during one restore or verification by a superuser, and executes what the set brings.

Its session is authenticated as a role without rights, so a function of the set cannot get any by RESET ROLE. In the
end, all that it restored belongs to another role or is dropped, and the superuser drops it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inventories import hide
from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.postgres.settings import owner_statement
from jobs.backup.restore.lock import lock_number
from jobs.backup.restore.ordinary_role import OrdinaryRole
from jobs.backup.restore.target import drop_database, maintenance_connection
from jobs.run.job import Failed, Transient

if TYPE_CHECKING:
    import psycopg

_DAYS_VALID = 7
_FIRST_WITH_READ_ALL = 14
TEMPORARY_ROLES = "groundcrew_restore_"
VERIFYING_ROLES = "groundcrew_verify_"
_VERIFYING_ROLE = re.compile(rf"{VERIFYING_ROLES}[0-9a-f]{{8}}_[0-9a-f]{{8}}")
_REFUSALS = (
    *("authentication failed", "no password supplied"),
    *("no pg_hba.conf entry", "pg_hba.conf rejects connection"),
)
_DATABASE_EXISTS = "SELECT FROM pg_catalog.pg_database WHERE datname = %s"
_LEFT_BEHIND = "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.starts_with(rolname::pg_catalog.text, %s)"
_DATABASES = "SELECT datname FROM pg_catalog.pg_database"
_OWNS_OTHER_DATABASES = """SELECT EXISTS (SELECT FROM pg_catalog.pg_database
    WHERE pg_catalog.pg_get_userbyid(datdba) = %s AND datname <> %s)"""
_TABLESPACES = "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'"
_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (%s)"
_RIGHTS_IN_SCHEMAS = """SELECT nspname, granted
    FROM pg_catalog.pg_namespace CROSS JOIN pg_catalog.unnest(ARRAY['USAGE', 'CREATE']) granted
    WHERE nspname = ANY (%s) AND (nspname = 'public' OR pg_catalog.has_schema_privilege(%s, oid, granted))"""
_USER_SCHEMAS = (
    "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
)


class LoginRefused(BackupError):
    """The server does not let a temporary role log in."""


@dataclass(frozen=True, slots=True)
class TemporaryRole(OrdinaryRole):
    """A role without rights that restores for another one."""

    def own_database(self, into: Endpoint, schemas: Collection[str]) -> None:
        """Make the role the owner of the database. In schemas of extensions it gets the rights of the final owner.

        If schemas do not keep their owners, it gets these schemas.
        """
        name = quoting.identifier(self.name)
        with translated_errors(), into.connect(autocommit=True) as connection:
            connection.execute(owner_statement(into.database, self.name))
            names = ["public", *(schemas if self.keeps_owners else ())]
            for schema, right in connection.execute(_RIGHTS_IN_SCHEMAS, (names, self.final_owner)).fetchall():
                connection.execute(f"GRANT {right} ON SCHEMA {quoting.identifier(schema)} TO {name}")
            if not self.keeps_owners:
                for (schema,) in connection.execute(_SCHEMAS, ([*schemas],)).fetchall():
                    connection.execute(f"ALTER SCHEMA {quoting.identifier(schema)} OWNER TO {name}")

    def hand_over(self, into: Endpoint) -> None:
        """Give all that this role owns in the database to the owner. No code of the set is executed as that owner."""
        if self.owner is None:  # the database is dropped
            return
        with translated_errors(), into.connect(autocommit=True) as connection:
            _reassign(connection, self.name, self.owner)


def role_prefix(database: str, kind: str = TEMPORARY_ROLES) -> str:
    """Return how the names of the temporary roles of a database begin: only one restore fills it at a time."""
    return f"{kind}{lock_number(database):08x}_"


def abandoned_roles(roles: Iterable[str], databases: Iterable[str]) -> list[str]:
    """Return the roles that killed verifications have left: their databases were dropped."""
    in_use = tuple(role_prefix(database, VERIFYING_ROLES) for database in databases)
    return [role for role in roles if _VERIFYING_ROLE.fullmatch(role) and not role.startswith(in_use)]


def drop_abandoned_roles(server: psycopg.Connection[Any]) -> None:
    """Drop the roles that killed verifications have left, once their databases were dropped."""
    roles = [name for (name,) in server.execute(_LEFT_BEHIND, (VERIFYING_ROLES,)).fetchall()]
    databases = [name for (name,) in server.execute(_DATABASES).fetchall()]
    for name in abandoned_roles(roles, databases):
        _drop(server, name)


@contextmanager
def verifying_role(into: Endpoint) -> Iterator[TemporaryRole]:
    """Provide a role that verifies a set in a database, and drop this database with all that the role made in it.

    No superuser gets any of it, not even for a moment: the server collects statistics with the rights of the owner of
    a table, and calls functions for that. Raise LoginRefused if the role cannot log in.
    """
    role = _new_role(role_prefix(into.database, VERIFYING_ROLES), owner=None, keeps_owners=False)
    try:
        with maintenance_connection(into) as server:
            _create(server, role, None)
        _require_login(role, into)
        yield role
    finally:
        with suppress(Failed, Transient):  # the next verification drops it; the server may be gone
            drop_database(into, into.database)
            with maintenance_connection(into) as server:
                _drop(server, role.name)


@contextmanager
def temporary_role(
    into: Endpoint, owner: str, *, is_member: bool = False, keeps_owners: bool = True, beside: str = ""
) -> Iterator[TemporaryRole]:
    """Provide the role, optionally as a member of the owner, and drop it. The caller holds the lock of the database.

    Raise LoginRefused if it cannot log in. Roles that a killed restore has left are dropped before, because one of them
    can own the database, but not the role `beside`.
    """
    role = _new_role(role_prefix(into.database), owner, keeps_owners=keeps_owners)
    _drop_all(into, owner, beside)
    try:
        with maintenance_connection(into) as server:
            _create(server, role, owner if is_member else None)
        _require_login(role, into)
        yield role
    finally:
        with suppress(Failed, Transient):  # the next restore drops it; the server may be gone
            _drop_all(into, owner, beside)


@contextmanager
def reading_role(into: Endpoint) -> Iterator[TemporaryRole]:
    """Provide a role that reads everything in a database, regardless of row security, and has no other right."""
    role = _new_role(role_prefix(into.database, VERIFYING_ROLES), owner=None, keeps_owners=False)
    name = quoting.identifier(role.name)
    try:
        with maintenance_connection(into) as server:
            _create(server, role, None)
            server.execute(f"ALTER ROLE {name} BYPASSRLS")
            server.execute(f"GRANT CONNECT ON DATABASE {quoting.identifier(into.database)} TO {name}")
            reads_all = server.info.server_version // 10000 >= _FIRST_WITH_READ_ALL
            if reads_all:
                server.execute(f"GRANT pg_read_all_data TO {name}")
        if not reads_all:
            _grant_reading(into, name)
        yield role
    finally:
        with suppress(Failed, Transient):  # the server may be gone
            with translated_errors(), into.connect(autocommit=True) as connection:
                connection.execute(f"DROP OWNED BY {name}")
            with maintenance_connection(into) as server:
                _drop(server, role.name)


def _grant_reading(into: Endpoint, name: str) -> None:
    """Let a role read all tables and sequences of a database. PostgreSQL 13 has no role for that."""
    with translated_errors(), into.connect(autocommit=True) as connection:
        for (schema,) in connection.execute(_USER_SCHEMAS).fetchall():
            quoted = quoting.identifier(schema)
            connection.execute(f"GRANT USAGE ON SCHEMA {quoted} TO {name}")
            for kind in ("TABLES", "SEQUENCES"):
                connection.execute(f"GRANT SELECT ON ALL {kind} IN SCHEMA {quoted} TO {name}")


def _new_role(prefix: str, owner: str | None, *, keeps_owners: bool) -> TemporaryRole:
    """Return a role, which does not exist yet, with a random password."""
    password = secrets.token_urlsafe(32)
    hide(password)
    return TemporaryRole(prefix + secrets.token_hex(4), password, owner=owner, keeps_owners=keeps_owners)


def _create(server: psycopg.Connection[Any], role: TemporaryRole, member_of: str | None) -> None:
    """Create the role. The server never gets its password, only a verifier."""
    name, password = role.name, role.password or ""
    verifier = server.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
    row = server.execute("SELECT pg_catalog.now() + pg_catalog.make_interval(days => %s)", (_DAYS_VALID,)).fetchone()
    assert row is not None
    server.execute(
        f"CREATE ROLE {quoting.identifier(name)} LOGIN PASSWORD {quoting.literal(verifier)} "
        f"VALID UNTIL {quoting.literal(row[0].isoformat())}"
    )
    for (tablespace,) in server.execute(_TABLESPACES).fetchall():
        server.execute(f"GRANT CREATE ON TABLESPACE {quoting.identifier(tablespace)} TO {quoting.identifier(name)}")
    if member_of is not None:
        server.execute(f"GRANT {quoting.identifier(member_of)} TO {quoting.identifier(name)}")


def _require_login(role: TemporaryRole, into: Endpoint) -> None:
    try:
        with maintenance_connection(role.endpoint(into)):
            pass
    except BackupError as error:
        if "permission denied for database" in str(error):  # then the login worked
            return
        if not refuses_login(str(error)):
            raise
        raise LoginRefused(f"the server does not let a temporary role log in: {error}") from None


def refuses_login(message: str) -> bool:
    """Whether the server refused each attempt to connect because of its authentication.

    Without TLS, libpq tries again, which most servers refuse. So an ordinary role that uses up all connections of the
    server must not look like a refusal: then the superuser would execute the set.
    """
    attempts = message.split("connection to server ")[1:]
    return bool(attempts) and all(any(sign in each for sign in _REFUSALS) for each in attempts)


def _drop_all(into: Endpoint, owner: str, beside: str) -> None:
    """Drop the temporary roles of the database. One that still owns something cannot log in any more.

    If it owns a copy that a killed restore or refresh has left, nobody else may own this copy: its rows can be secret.
    """
    with maintenance_connection(into) as server:
        names = [name for (name,) in server.execute(_LEFT_BEHIND, (role_prefix(into.database),)).fetchall()]
        exists = server.execute(_DATABASE_EXISTS, (into.database,)).fetchone() is not None
        for name in names:
            if name in (beside, owner):
                continue
            _lock_out(server, name)
            if server.execute(_OWNS_OTHER_DATABASES, (name, into.database)).fetchone() == (True,):
                continue
            if exists:
                with suppress(Failed, Transient), translated_errors(), into.connect(autocommit=True) as connection:
                    _reassign(connection, name, owner)
            _drop(server, name)


def _lock_out(server: psycopg.Connection[Any], name: str) -> None:
    server.execute(f"ALTER ROLE {quoting.identifier(name)} NOLOGIN PASSWORD NULL")


def _drop(server: psycopg.Connection[Any], name: str) -> None:
    """Drop a role. One that still owns something in another database stays, and cannot log in any more."""
    import psycopg

    _lock_out(server, name)
    server.execute(f"DROP OWNED BY {quoting.identifier(name)}")
    with suppress(psycopg.errors.DependentObjectsStillExist):
        server.execute(f"DROP ROLE {quoting.identifier(name)}")


def _reassign(connection: psycopg.Connection[Any], name: str, owner: str) -> None:
    """Change the owner of all that the role owns in this database, and revoke what it was granted."""
    connection.execute(f"REASSIGN OWNED BY {quoting.identifier(name)} TO {quoting.identifier(owner)}")
    connection.execute(f"DROP OWNED BY {quoting.identifier(name)}")
