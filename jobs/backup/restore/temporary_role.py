"""A role that exists during one restore by a superuser, and executes what the set brings.

Its session is authenticated as a role without rights, so a function of the set cannot get any by RESET ROLE. In the
end, all that it restored belongs to another role, and the superuser drops it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator
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
from jobs.backup.restore.target import maintenance_connection
from jobs.run.job import Failed, Transient

if TYPE_CHECKING:
    import psycopg

_DAYS_VALID = 7
TEMPORARY_ROLES = "groundcrew_restore_"
_DATABASE_EXISTS = "SELECT FROM pg_catalog.pg_database WHERE datname = %s"
_LEFT_BEHIND = "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.starts_with(rolname::pg_catalog.text, %s)"
_OWNS_OTHER_DATABASES = """SELECT EXISTS (SELECT FROM pg_catalog.pg_database
    WHERE pg_catalog.pg_get_userbyid(datdba) = %s AND datname <> %s)"""
_TABLESPACES = "SELECT spcname FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_'"
_SCHEMAS = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname = ANY (%s)"
_EXTENSION_ROWS = """SELECT DISTINCT c.oid::pg_catalog.regclass::pg_catalog.text, relkind = 'S'
    FROM pg_catalog.pg_extension CROSS JOIN pg_catalog.unnest(extconfig) configured
    JOIN pg_catalog.pg_class c ON c.oid = configured"""


class LoginRefused(BackupError):
    """The server does not let a temporary role log in."""


@dataclass(frozen=True, slots=True)
class TemporaryRole(OrdinaryRole):
    """A role without rights that restores for another one."""

    def own_database(self, into: Endpoint, schemas: Collection[str]) -> None:
        """Make the role the owner of the database, and let it fill the schemas and tables of extensions."""
        name = quoting.identifier(self.name)
        with translated_errors(), into.connect(autocommit=True) as connection:
            connection.execute(owner_statement(into.database, self.name))
            for (schema,) in connection.execute(_SCHEMAS, (["public", *schemas],)).fetchall():
                granted = f"GRANT ALL ON SCHEMA {quoting.identifier(schema)} TO {name}"
                owned = f"ALTER SCHEMA {quoting.identifier(schema)} OWNER TO {name}"
                connection.execute(granted if self.keeps_owners or schema == "public" else owned)
            for table, is_sequence in connection.execute(_EXTENSION_ROWS).fetchall():
                privilege = "UPDATE ON SEQUENCE" if is_sequence else "INSERT ON TABLE"
                connection.execute(f"GRANT {privilege} {table} TO {name}".encode())

    def hand_over(self, into: Endpoint) -> None:
        """Give all that this role owns in the database to the owner. No code of the set is executed as that owner."""
        with translated_errors(), into.connect(autocommit=True) as connection:
            _reassign(connection, self.name, self.final_owner)


def role_prefix(database: str) -> str:
    """Return how the names of the temporary roles of a database begin: only one restore fills it at a time."""
    return f"{TEMPORARY_ROLES}{lock_number(database):08x}_"


@contextmanager
def temporary_role(
    into: Endpoint, owner: str, *, is_member: bool = False, keeps_owners: bool = True, beside: str = ""
) -> Iterator[TemporaryRole]:
    """Provide the role, optionally as a member of the owner, and drop it. The caller holds the lock of the database.

    Raise LoginRefused if it cannot log in. Roles that a killed restore has left are dropped before, because one of them
    can own the database, but not the role `beside`.
    """
    password = secrets.token_urlsafe(32)
    hide(password)
    role = TemporaryRole(
        role_prefix(into.database) + secrets.token_hex(4), password, owner=owner, keeps_owners=keeps_owners
    )
    _drop_all(into, owner, beside)
    try:
        with maintenance_connection(into) as server:
            _create(server, role.name, password, owner if is_member else None)
        _require_login(role, into)
        yield role
    finally:
        with suppress(Failed, Transient):  # the next restore drops it; the server may be gone
            _drop_all(into, owner, beside)


def _create(server: psycopg.Connection[Any], name: str, password: str, member_of: str | None) -> None:
    """Create the role. The server never gets its password, only a verifier."""
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
        if "permission denied for database" not in str(error):  # then the login worked
            raise LoginRefused(f"the server does not let a temporary role log in: {error}") from None


def _drop_all(into: Endpoint, owner: str, beside: str) -> None:
    """Drop the temporary roles of the database. One that still owns something cannot log in any more.

    If it owns a copy that a killed restore or refresh has left, nobody else may own this copy: its rows can be secret.
    """
    import psycopg

    with maintenance_connection(into) as server:
        names = [name for (name,) in server.execute(_LEFT_BEHIND, (role_prefix(into.database),)).fetchall()]
        exists = server.execute(_DATABASE_EXISTS, (into.database,)).fetchone() is not None
        for name in names:
            if name in (beside, owner):
                continue
            server.execute(f"ALTER ROLE {quoting.identifier(name)} NOLOGIN PASSWORD NULL")
            if server.execute(_OWNS_OTHER_DATABASES, (name, into.database)).fetchone() == (True,):
                continue
            if exists:
                with suppress(Failed, Transient), translated_errors(), into.connect(autocommit=True) as connection:
                    _reassign(connection, name, owner)
            server.execute(f"DROP OWNED BY {quoting.identifier(name)}")
            with suppress(psycopg.errors.DependentObjectsStillExist):
                server.execute(f"DROP ROLE {quoting.identifier(name)}")


def _reassign(connection: psycopg.Connection[Any], name: str, owner: str) -> None:
    """Change the owner of all that the role owns in this database, and revoke what it was granted."""
    connection.execute(f"REASSIGN OWNED BY {quoting.identifier(name)} TO {quoting.identifier(owner)}")
    connection.execute(f"DROP OWNED BY {quoting.identifier(name)}")
