"""Restore as a role without superuser rights: what a set brings is executed with the rights of that role."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint, translated_errors
from jobs.backup.postgres.settings import owner_statement
from jobs.backup.restore.pg_restore import listed_entries
from jobs.backup.restore.target import RestoreTarget, maintenance_connection

_FIRST_WITH_DATABASE_OWNER = 15  # before, schema public does not belong to the owner of the database

# Only a superuser creates these. Of functions and publications, the server refuses those that need one.
_NEED_SUPERUSER = (
    *("ACCESS METHOD", "EVENT TRIGGER", "FOREIGN DATA WRAPPER", "OPERATOR CLASS", "OPERATOR FAMILY"),
    *("PROCEDURAL LANGUAGE", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRANSFORM"),
)

_LOGIN_ROLE = "SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = %s"
_RIGHTS = """SELECT rolname, rolsuper, rolcreaterole FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(%s, oid, 'MEMBER') AND (rolsuper OR rolcreaterole OR rolname IN
    ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
    ORDER BY rolname <> %s, rolname LIMIT 1"""
_OWNER = "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = %s"


@dataclass(frozen=True, slots=True)
class OrdinaryRole:
    """A role without superuser rights that logs in itself. SET ROLE is no protection: a function can reset it."""

    name: str
    password: str | None = field(default=None, repr=False)

    def endpoint(self, into: Endpoint) -> Endpoint:
        """Return the same database, as this role."""
        return replace(into, parameters={**into.parameters, "user": self.name}, password=self.password)

    def own_database(self, into: Endpoint, schemas: Collection[str]) -> None:
        """Make the role the owner of the database, and of schemas that it did not create itself."""
        with translated_errors(), into.connect(autocommit=True) as connection:
            public = ("public",) if connection.info.server_version // 10000 < _FIRST_WITH_DATABASE_OWNER else ()
            connection.execute(owner_statement(into.database, self.name))
            for schema in (*public, *schemas):
                connection.execute(
                    f"ALTER SCHEMA {quoting.identifier(schema)} OWNER TO {quoting.identifier(self.name)}"
                )


@dataclass(frozen=True, slots=True)
class RestoreLists:
    """The entries of an archive by who restores them: a superuser first, then the role, then a superuser again."""

    extensions: tuple[int, ...]
    by_role: tuple[int, ...]
    privileges: tuple[int, ...]
    refused: tuple[str, ...]
    """What only a superuser can restore although it can execute code of the set."""


def ordinary_role(
    into: Endpoint, target: RestoreTarget, name: str, password: str | None, *, option: str = "--as"
) -> OrdinaryRole:
    """Return the role after a login, or raise if it cannot log in or has more than ordinary rights."""
    if not target.superuser:
        raise BackupError(
            f"{option} is for a restore by a superuser, and {target.user} is not a superuser; omit {option}: "
            "without it, the restore has only the rights of this role, too"
        )
    with maintenance_connection(into) as server:
        can_login = server.execute(_LOGIN_ROLE, (name,)).fetchone()
        rights = server.execute(_RIGHTS, (name, name)).fetchone() if can_login is not None else None
    if can_login != (True,):
        fact = "does not exist on this server" if can_login is None else "cannot log in"
        verb = "CREATE" if can_login is None else "ALTER"
        raise BackupError(f"{option} {name}: this role {fact}; {verb} ROLE {quoting.identifier(name)} LOGIN PASSWORD …")
    if rights is not None:
        raise BackupError(f"{option} {name}: {excessive_rights(name, *rights)}; name a role without such rights")
    role = OrdinaryRole(name, password)
    try:
        with maintenance_connection(role.endpoint(into)):
            pass
    except BackupError as error:
        raise BackupError(f"{option} {name}: the login failed: {error}; check its password and pg_hba.conf") from None
    return role


def excessive_rights(name: str, holder: str, superuser: bool, createrole: bool) -> str:
    """Return why a role can do more than an ordinary one, because of itself or of a role that it is a member of."""
    who = "this role" if holder == name else f"this role is a member of {holder}, which"
    if superuser:
        return f"{who} is a superuser"
    if createrole:
        return f"{who} can create roles"
    return f"{who} can read or write files of the server, or start programs there"


def require_owner(into: Endpoint, role: OrdinaryRole) -> None:
    """Raise if the role does not own the database that exists: it could not restore into its schema public."""
    with maintenance_connection(into) as server:
        owner = server.execute(_OWNER, (into.database,)).fetchone()
    if owner is not None and owner != (role.name,):
        database, name = quoting.identifier(into.database), quoting.identifier(role.name)
        raise BackupError(
            f"{role.name} cannot restore into database {into.database}, which belongs to {owner[0]}; "
            f"ALTER DATABASE {database} OWNER TO {name}, or restore into a new database with --create"
        )


def restore_lists(listing: str, schemas_of_extensions: Collection[str]) -> RestoreLists:
    """Divide the entries that `pg_restore --list` prints."""
    entries = listed_entries(listing)
    starts = tuple(f"SCHEMA - {schema} " for schema in schemas_of_extensions)
    extensions = {
        number for number, what in entries if what.startswith(("EXTENSION - ", "COMMENT - EXTENSION ", *starts))
    }
    privileges = {number for number, what in entries if what.startswith(("ACL ", "DEFAULT ACL "))}
    refused = [what for _, what in entries if what.startswith(tuple(f"{kind} " for kind in _NEED_SUPERUSER))]
    return RestoreLists(
        extensions=tuple(number for number, _ in entries if number in extensions),
        by_role=tuple(number for number, _ in entries if number not in extensions | privileges),
        privileges=tuple(number for number, _ in entries if number in privileges),
        refused=tuple(" ".join(what.split()[:-1]) for what in refused),
    )
