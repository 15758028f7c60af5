"""Restore as a role without superuser rights: what a set brings is executed with the rights of that role."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

_ROWS = ("TABLE DATA ", "SEQUENCE SET ")
_ON_ROWS = ("DEFAULT ACL ", " TABLE ", " COLUMN ", " SEQUENCE ")

_LOGIN_ROLE = "SELECT rolcanlogin FROM pg_catalog.pg_roles WHERE rolname = %s"
_RIGHTS = """SELECT rolname, rolsuper, rolcreaterole FROM pg_catalog.pg_roles
    WHERE pg_catalog.pg_has_role(%s, oid, 'MEMBER') AND (rolsuper OR rolcreaterole OR rolname IN
    ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
    ORDER BY rolname <> %s, rolname LIMIT 1"""
_IS_SUPERUSER = """SELECT EXISTS (SELECT FROM pg_catalog.pg_roles
    WHERE rolsuper AND pg_catalog.pg_has_role(%s, oid, 'MEMBER'))"""
_OWNER = "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database WHERE datname = %s"


@dataclass(frozen=True, slots=True)
class OrdinaryRole:
    """A role without superuser rights that logs in itself. SET ROLE is no protection: a function can reset it."""

    name: str
    password: str | None = field(default=None, repr=False)
    owner: str | None = None
    """Everything belongs to this role in the end (default: to the role itself)."""
    keeps_owners: bool = False
    """Whether schemas of extensions get the owner that the set names."""

    @property
    def final_owner(self) -> str:
        return self.owner or self.name

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

    def hand_over(self, into: Endpoint) -> None:
        """Give all that the role owns in the database to its final owner."""


@dataclass(frozen=True, slots=True)
class RestoreLists:
    """The entries of an archive by who restores them: a superuser first, then the role, then a superuser again."""

    extensions: tuple[int, ...]
    schema_privileges: tuple[int, ...]
    """The privileges on the schemas of extensions, which decide what the role can do there."""
    by_role: tuple[int, ...]
    privileges: tuple[int, ...]
    on_rows: frozenset[int]
    """Those of the privileges with which others can read or change rows."""
    refused: tuple[str, ...]
    """What only a superuser can restore although it can execute code of the set."""
    of_others: Mapping[int, str]
    """The entries that another role than the owner of the database owns, or must create."""


def ordinary_role(
    into: Endpoint, target: RestoreTarget, name: str, password: str | None, *, option: str = "--as"
) -> OrdinaryRole:
    """Return the role after a login, or raise if it cannot log in or has more than ordinary rights."""
    if not require_ordinary(into, target, name, option=option):
        raise BackupError(
            f"{option} {name}: this role cannot log in; ALTER ROLE {quoting.identifier(name)} LOGIN PASSWORD …"
        )
    role = OrdinaryRole(name, password)
    try:
        with maintenance_connection(role.endpoint(into)):
            pass
    except BackupError as error:
        raise BackupError(f"{option} {name}: the login failed: {error}; check its password and pg_hba.conf") from None
    return role


def require_ordinary(into: Endpoint, target: RestoreTarget, name: str, *, option: str = "--as") -> bool:
    """Return whether the role can log in; raise if it does not exist or has more than ordinary rights."""
    if not target.superuser:
        raise BackupError(
            f"{option} is for a restore by a superuser, and {target.user} is not a superuser; omit {option}: "
            "without it, the restore has only the rights of this role, too"
        )
    with maintenance_connection(into) as server:
        can_login = server.execute(_LOGIN_ROLE, (name,)).fetchone()
        rights = server.execute(_RIGHTS, (name, name)).fetchone() if can_login is not None else None
    if can_login is None:
        raise BackupError(
            f"{option} {name}: this role does not exist on this server; CREATE ROLE {quoting.identifier(name)}"
        )
    if rights is not None:
        raise BackupError(f"{option} {name}: {excessive_rights(name, *rights)}; name a role without such rights")
    return bool(can_login[0])


def is_superuser(into: Endpoint, name: str) -> bool:
    """Whether an existing role is a superuser, or a member of one."""
    with maintenance_connection(into) as server:
        return server.execute(_IS_SUPERUSER, (name,)).fetchone() == (True,)


def database_owner(into: Endpoint) -> str | None:
    """Return the owner of the database; None if it does not exist."""
    with maintenance_connection(into) as server:
        row = server.execute(_OWNER, (into.database,)).fetchone()
    return str(row[0]) if row is not None else None


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
    owner = database_owner(into)
    if owner is not None and owner != role.name:
        database, name = quoting.identifier(into.database), quoting.identifier(role.name)
        raise BackupError(
            f"{role.name} cannot restore into database {into.database}, which belongs to {owner}; "
            f"ALTER DATABASE {database} OWNER TO {name}, or restore into a new database with --create"
        )


def restore_lists(
    listing: str, schemas_of_extensions: Collection[str], owner: str, roles: Collection[str] = ()
) -> RestoreLists:
    """Divide the entries that `pg_restore --list` prints, in which `owner` is the owner of the database.

    `roles` are those of the set, if names with spaces make them necessary.
    """
    entries, schemas = listed_entries(listing), ("public", *schemas_of_extensions)
    of_extensions = ("EXTENSION - ", "COMMENT - EXTENSION ")
    extensions = tuple(
        number for number, what in entries if what.startswith(of_extensions) or _is_of_schema(what, schemas, roles)
    )
    on_schemas = tuple(f"ACL - SCHEMA {schema} " for schema in schemas_of_extensions)
    privileges = {number: what for number, what in entries if what.startswith(("ACL ", "DEFAULT ACL "))}
    by_role = [(number, what) for number, what in entries if number not in {*extensions, *privileges}]
    need_superuser = tuple(f"{kind} " for kind in _NEED_SUPERUSER)
    own = tuple(f" {name}" for name in (owner, "pg_database_owner", ""))  # some kinds have no owner
    return RestoreLists(
        extensions=extensions,
        by_role=tuple(number for number, _ in by_role),
        schema_privileges=tuple(number for number, what in privileges.items() if what.startswith(on_schemas)),
        privileges=tuple(number for number, what in privileges.items() if not what.startswith(on_schemas)),
        on_rows=frozenset(number for number, what in privileges.items() if any(kind in what for kind in _ON_ROWS)),
        refused=tuple(_without_owner(what) for _, what in by_role if what.startswith(need_superuser)),
        of_others={
            number: f"{_without_owner(what)} of {what.split()[-1]}"
            for number, what in by_role
            if not what.startswith(_ROWS)
            and (what.startswith((*need_superuser, "SUBSCRIPTION ")) or not what.endswith(own))
        },
    )


def needs_roles(listing: str) -> bool:
    """Whether the name of a schema or of its owner has a space: the list does not show where one of them ends."""
    return any(_of_schema(what).count(" ") > 1 for _, what in listed_entries(listing))


def _is_of_schema(what: str, schemas: Collection[str], roles: Collection[str]) -> bool:
    """Whether an entry is one of these schemas, or its comment: what follows the name is the owner."""
    named = _of_schema(what)
    owners = [named.removeprefix(f"{schema} ") for schema in schemas if named.startswith(f"{schema} ")]
    return any(" " not in owner or owner in roles for owner in owners)


def _of_schema(what: str) -> str:
    """Return the name and the owner of a schema, or of the schema that a comment is on; "" for another entry."""
    kind = next((kind for kind in ("SCHEMA - ", "COMMENT - SCHEMA ") if what.startswith(kind)), None)
    return what.removeprefix(kind) if kind else ""


def _without_owner(what: str) -> str:
    return " ".join(what.split()[:-1])
