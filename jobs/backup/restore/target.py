"""The database that a restore writes to, and its server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Endpoint, translated_errors, with_names_of_any_encoding
from jobs.backup.postgres.copies import abandoned_copies, is_replaced_name, refresh_comment, restoring_name
from jobs.backup.postgres.settings import owner_statement
from jobs.run.job import Transient

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

_MAX_COPIES = 30
_MAX_ROUNDS = 100
_SECONDS_BETWEEN_ROUNDS = 0.1
_MAINTENANCE_DATABASES = ("postgres", "template1")

_SERVER = """SELECT pg_catalog.current_setting('server_version_num')::int / 10000, pg_catalog.pg_is_in_recovery(),
    (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
    (SELECT rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user), current_user,
    EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname !~ '^pg_')"""

_FIRST_WITH_LIMITED_CREATEROLE = 16
_DEFAULT_TABLESPACE = "pg_default"
_DATABASES = (
    "SELECT datname, spcname FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = dattablespace"
)

# Objects that a dump would contain: all that users created, without the members of extensions. For a superuser, a
# member counts that no superuser owns: the owner of an extension can add own functions to it.
_OBJECTS = """SELECT pg_catalog.count(*) FROM (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass AS kind, oid, relnamespace AS schema, relowner AS owner
    FROM pg_catalog.pg_class WHERE relkind <> 'i'
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, pronamespace, proowner FROM pg_catalog.pg_proc
    UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, oid, oprnamespace, oprowner
    FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, oid, collnamespace, collowner
    FROM pg_catalog.pg_collation
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typnamespace, typowner
    FROM pg_catalog.pg_type WHERE typtype IN ('d', 'e', 'r')
    UNION ALL SELECT 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, oid, nspowner
    FROM pg_catalog.pg_namespace WHERE nspname <> 'public'
    UNION ALL SELECT 'pg_catalog.pg_largeobject_metadata'::pg_catalog.regclass, oid, NULL, lomowner
    FROM pg_catalog.pg_largeobject_metadata) o
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = o.schema
    JOIN pg_catalog.pg_roles r ON r.oid = o.owner
    WHERE (n.oid IS NULL OR n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AND (NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.kind AND d.objid = o.oid AND d.deptype = 'e')
    OR NOT r.rolsuper AND pg_catalog.current_setting('is_superuser')::pg_catalog.bool)"""

_LIMIT_AND_OWNER = """SELECT datconnlimit, pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
    WHERE datname = %s"""
_END_ORDINARY_SESSIONS = """SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid))
    FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_roles r ON r.oid = usesysid
    WHERE datname = %s AND NOT rolsuper"""

# Autovacuum workers have no user. The server ends them when the database is dropped.
_UNCONNECTED = """SELECT datname FROM pg_catalog.pg_database d
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND usesysid IS NOT NULL)"""


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """What a restore needs to know of the target database and its server."""

    database: str
    major: int
    standby: bool
    superuser: bool
    user: str
    tablespaces: bool
    objects: int
    roles: frozenset[str]
    databases: frozenset[str]
    system_identifier: str | None
    creates_roles: bool = False
    tablespace: str | None = None
    """The tablespace of the database; None for the default one."""

    @property
    def can_run_programs(self) -> bool:
        """Whether its role can grant itself pg_execute_server_program without being a superuser."""
        return self.creates_roles and not self.superuser and self.major < _FIRST_WITH_LIMITED_CREATEROLE

    @property
    def exists(self) -> bool:
        return self.database in self.databases


def inspect_target(into: Endpoint) -> RestoreTarget:
    """Query the server and the database, which does not need to exist."""
    name = into.database
    with maintenance_connection(into) as server:
        row = server.execute(_SERVER).fetchone()
        assert row is not None
        roles = role_names(server)
        databases: dict[str, str] = dict(server.execute(_DATABASES).fetchall())
        identifier = system_identifier(server)
    major, standby, superuser, creates_roles, user, tablespaces = row
    objects = _count_objects(into) if name in databases else 0
    tablespace = databases.get(name, _DEFAULT_TABLESPACE)
    return RestoreTarget(
        database=name,
        major=major,
        standby=standby,
        superuser=superuser,
        user=user,
        tablespaces=tablespaces,
        objects=objects,
        roles=roles,
        databases=frozenset(databases),
        system_identifier=identifier,
        creates_roles=creates_roles,
        tablespace=tablespace if tablespace != _DEFAULT_TABLESPACE else None,
    )


def role_names(server: psycopg.Connection[Any]) -> frozenset[str]:
    """Return the names of all roles of a server."""
    return frozenset(role for (role,) in server.execute("SELECT rolname FROM pg_catalog.pg_roles").fetchall())


def read_settings(server: psycopg.Connection[Any]) -> dict[str, str]:
    """Return the settings of a server that this role may read."""
    return dict(server.execute("SELECT name, setting FROM pg_catalog.pg_settings").fetchall())


def system_identifier(server: psycopg.Connection[Any]) -> str | None:
    """Return the unique identifier of a server; None if a managed server does not show it."""
    import psycopg

    try:
        row = server.execute("SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row[0]) if row is not None else None


@contextmanager
def maintenance_connection(into: Endpoint) -> Iterator[psycopg.Connection[Any]]:
    """Connect to another database of the same server, to create, rename or drop the target."""
    with translated_errors():
        connection = _connect_to_first(into)
        with connection:
            yield connection


def _connect_to_first(into: Endpoint) -> psycopg.Connection[Any]:
    first_error: BackupError | None = None
    for name in _MAINTENANCE_DATABASES:
        if name == into.database:
            continue
        try:
            return with_names_of_any_encoding(into.with_database(name).connect(autocommit=True))
        except BackupError as error:
            first_error = first_error or error
    raise first_error or BackupError(f"no maintenance database on the server of {into.database} accepts connections")


def _count_objects(into: Endpoint) -> int:
    with translated_errors(), into.connect(autocommit=True) as connection:
        row = connection.execute(_OBJECTS).fetchone()
        return int(row[0]) if row is not None else 0


@contextmanager
def closed_to_others(into: Endpoint) -> Iterator[None]:
    """Close an empty database to all but superusers, who have no connection limit, and end the sessions of others.

    They could create functions that a statement of a superuser finds before the right ones. Its owner could open it
    again, from another database, so we own it meanwhile.

    If the block fails and leaves objects, the database stays closed: others may have privileges on tables that have no
    row security yet.
    """
    name = quoting.identifier(into.database)
    with maintenance_connection(into) as server:
        limit, owner = _limit_and_owner(server, into.database)
        server.execute("SET lock_timeout = '30s'")  # its owner can lock it
        server.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
        server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")

    def give_back(limit: int) -> None:
        with maintenance_connection(into) as server:
            server.execute(owner_statement(into.database, owner))
            server.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {limit}")

    started = False
    try:
        with maintenance_connection(into) as server:
            _end_ordinary_sessions(server, into.database)
        require_empty(into)
        started = True
        yield
    except BaseException:
        with suppress(BackupError, Transient):  # the first error says more
            give_back(0 if started and _count_objects(into) else limit)
        raise
    give_back(limit)


def require_open(into: Endpoint) -> None:
    """Raise if only superusers can connect to the database."""
    with maintenance_connection(into) as server:
        limit, _ = _limit_and_owner(server, into.database)
    if limit == 0:
        name = quoting.identifier(into.database)
        raise BackupError(
            f"only superusers can connect to database {into.database}, because its connection limit is 0. If a failed "
            f"or killed restore has left it, open it again: ALTER DATABASE {name} CONNECTION LIMIT -1"
        )


def _limit_and_owner(server: psycopg.Connection[Any], database: str) -> tuple[int, str]:
    row = server.execute(_LIMIT_AND_OWNER, (database,)).fetchone()
    if row is None:
        raise BackupError(f"database {database} does not exist any more")
    return int(row[0]), str(row[1])


def _end_ordinary_sessions(server: psycopg.Connection[Any], database: str) -> None:
    """End the sessions of ordinary roles. One that began before the database was closed can appear a moment later."""
    without = 0
    for _ in range(_MAX_ROUNDS):
        [sessions] = server.execute(_END_ORDINARY_SESSIONS, (database,)).fetchone() or (0,)
        without = 0 if sessions else without + 1
        if without > 1:
            return
        time.sleep(_SECONDS_BETWEEN_ROUNDS)
    raise Transient(f"{database}: sessions of other roles do not end, so it cannot be closed to them; try again")


def require_empty(into: Endpoint) -> None:
    """Raise if the database has objects that are not of this restore."""
    if _count_objects(into):
        raise BackupError(f"database {into.database} has changed since this restore began; start the restore again")


def unconnected_databases(server: psycopg.Connection[Any]) -> list[str]:
    """Return the databases without connections."""
    return [name for (name,) in with_names_of_any_encoding(server).execute(_UNCONNECTED).fetchall()]


def drop_abandoned_copies(server: psycopg.Connection[Any], database: str, now: datetime) -> list[str]:
    """Drop copies that killed restores of this database left. A running restore is connected to its copy."""
    import psycopg

    dropped = []
    for name in abandoned_copies(unconnected_databases(server), now, database):
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InvalidCatalogName):
            server.execute(f"DROP DATABASE {quoting.identifier(name)}")
            dropped.append(name)
    return dropped


def create_copy(database: str, now: datetime, create: Callable[[str], T]) -> tuple[str, T]:
    """Create a database to restore into. Return its name, which differs from those of other restores, and the result.

    The name has the time in seconds. If another restore began in the same second, the next second is used.
    """
    import psycopg

    for seconds in range(_MAX_COPIES):
        name = restoring_name(database, now + timedelta(seconds=seconds))
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return name, create(name)
    raise Transient(
        f"{database}: {_MAX_COPIES} other restores started in the same seconds, so no name for a copy is free; "
        "try again in a few seconds"
    )


def drop_database(into: Endpoint, name: str) -> None:
    """Drop a database and end its connections."""
    with maintenance_connection(into) as server:
        server.execute(f"DROP DATABASE IF EXISTS {quoting.identifier(name)} WITH (FORCE)")


def drop_replaced_by_refreshes(server: psycopg.Connection[Any], database: str, kept: str | None) -> tuple[str, ...]:
    """Drop what refreshes of this database replaced, except `kept`. Return notes on what the server does not drop."""
    import psycopg

    from inventories import redact

    notes = []
    for name in sorted(_replaced_by_refreshes(server, database) - {kept}):
        try:
            server.execute(f"DROP DATABASE IF EXISTS {quoting.identifier(name)} WITH (FORCE)")
        except psycopg.errors.DatabaseError as error:
            if server.closed:
                raise
            reason = redact(str(error.diag.message_primary))
            notes.append(f"{name} could not be dropped ({reason}); the next refresh tries again")
    return tuple(notes)


def _replaced_by_refreshes(server: psycopg.Connection[Any], database: str) -> set[str]:
    """Return the databases that have both the name and the comment that a refresh of this database gives."""
    rows = server.execute(
        "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.shobj_description(oid, 'pg_database') = %s",
        (refresh_comment(database),),
    ).fetchall()
    return {name for (name,) in rows if is_replaced_name(name, database)}
