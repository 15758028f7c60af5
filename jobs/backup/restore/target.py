"""The database that a set is restored into: what stands there, and how another takes its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import quoting
from jobs.backup.postgres.connection import Reached, translated_errors
from jobs.backup.postgres.copies import abandoned_copies, refresh_comment

if TYPE_CHECKING:
    import psycopg

    from jobs.run.job import Run

MAINTENANCE = ("postgres", "template1")
_GRACE = 3.0
_TRIES = 3

_SERVER = """SELECT current_setting('server_version_num')::int / 10000, pg_is_in_recovery(),
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), current_user,
    EXISTS (SELECT FROM pg_tablespace WHERE spcname !~ '^pg_')"""

# What a dump would bring and find taken: all that somebody made, less what came with an extension.
_OBJECTS = """SELECT count(*) FROM (
    SELECT 'pg_class'::regclass AS kind, oid, relnamespace AS schema FROM pg_class WHERE relkind <> 'i'
    UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace FROM pg_proc
    UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace FROM pg_type WHERE typtype IN ('d', 'e', 'r')
    UNION ALL SELECT 'pg_namespace'::regclass, oid, oid FROM pg_namespace WHERE nspname <> 'public'
    UNION ALL SELECT 'pg_largeobject_metadata'::regclass, oid, NULL FROM pg_largeobject_metadata) o
    LEFT JOIN pg_namespace n ON n.oid = o.schema
    WHERE (n.oid IS NULL OR n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.kind AND d.objid = o.oid AND d.deptype = 'e')"""

_END_OTHERS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = %s AND pid <> pg_backend_pid() AND (state IS NULL OR state = 'idle' OR %s)"""


@dataclass(frozen=True, slots=True)
class TargetState:
    """A server, and the database on it that was asked for."""

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

    @property
    def exists(self) -> bool:
        return self.database in self.databases


def target_state(into: Reached) -> TargetState:
    """Ask the server what stands there."""
    name = into.database
    with maintenance(into) as server:
        row = server.execute(_SERVER).fetchone()
        assert row is not None
        there = roles(server)
        databases = frozenset(one for (one,) in server.execute("SELECT datname FROM pg_database").fetchall())
        identifier = system_identifier(server)
    major, standby, superuser, user, tablespaces = row
    objects = _count_objects(into) if name in databases else 0
    return TargetState(name, major, standby, superuser, user, tablespaces, objects, there, databases, identifier)


def roles(server: psycopg.Connection[Any]) -> frozenset[str]:
    """The names of all roles of a server."""
    return frozenset(role for (role,) in server.execute("SELECT rolname FROM pg_roles").fetchall())


def system_identifier(server: psycopg.Connection[Any]) -> str | None:
    """What tells a server from all others; None where a managed server keeps it to itself."""
    import psycopg

    try:
        row = server.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row[0]) if row is not None else None


@contextmanager
def maintenance(into: Reached) -> Iterator[psycopg.Connection[Any]]:
    """A connection to the server, in a database other than the one in question."""
    with translated_errors():
        connection = _first_that_lets_us_in(into)
        with connection:
            yield connection


def _first_that_lets_us_in(into: Reached) -> psycopg.Connection[Any]:
    refused: BackupError | None = None
    for name in MAINTENANCE:
        if name == into.database:
            continue
        try:
            return into.named(name).connect(autocommit=True)
        except BackupError as error:
            refused = refused or error
    raise refused or BackupError(f"no database of {into.database}'s server can be connected to")


def _count_objects(into: Reached) -> int:
    with translated_errors(), into.connect(autocommit=True) as there:
        row = there.execute(_OBJECTS).fetchone()
        return int(row[0]) if row is not None else 0


def unused(server: psycopg.Connection[Any]) -> list[str]:
    """The databases that nobody is connected to."""
    rows = server.execute(
        "SELECT datname FROM pg_database d WHERE NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"
    )
    return [name for (name,) in rows.fetchall()]


def sweep(server: psycopg.Connection[Any], database: str, now: datetime) -> list[str]:
    """Drop what dead restores of this database left; those that live hold a connection, which protects theirs."""
    import psycopg

    dropped = []
    for name in abandoned_copies(unused(server), now, database):
        with suppress(psycopg.errors.ObjectInUse, psycopg.errors.InvalidCatalogName):
            server.execute(f"DROP DATABASE {quoting.name(name)}")
            dropped.append(name)
    return dropped


def drop(into: Reached, name: str) -> None:
    """Drop a database with whatever is connected to it."""
    with maintenance(into) as server:
        server.execute(f"DROP DATABASE IF EXISTS {quoting.name(name)} WITH (FORCE)")


def swap(into: Reached, new: str, kept: str, *, replaces: bool, run: Run) -> None:
    """Give the new database its final name; what stands there is renamed in the same transaction.

    The first rename locks the old database: whoever wants in waits, those who are in are ended meanwhile, the idle
    ones at once, the others after a grace. Nothing of this outlives us if we die: the server takes it all back.
    """
    import psycopg

    for left in reversed(range(_TRIES)):
        run.check()
        with maintenance(into) as server:
            try:
                _rename(server, into, new, kept, replaces=replaces)
            except psycopg.errors.ObjectInUse:
                if not left:
                    raise
            else:
                return


def _rename(server: psycopg.Connection[Any], into: Reached, new: str, kept: str, *, replaces: bool) -> None:
    name = into.database
    with server.transaction():
        server.execute("SET LOCAL lock_timeout = '10s'")
        if replaces:
            with _others_ended(into, name):
                server.execute(f"ALTER DATABASE {quoting.name(name)} RENAME TO {quoting.name(kept)}")
        with _others_ended(into, new):
            server.execute(f"ALTER DATABASE {quoting.name(new)} RENAME TO {quoting.name(name)}")


@contextmanager
def _others_ended(into: Reached, name: str) -> Iterator[None]:
    """While inside, connections to a database are ended from another connection."""
    done = threading.Event()
    ending = threading.Thread(target=_end_others, args=(into, name, done), daemon=True)
    ending.start()
    try:
        yield
    finally:
        done.set()
        ending.join()


def _end_others(into: Reached, name: str, done: threading.Event) -> None:
    with suppress(Exception), maintenance(into) as server:
        waited = 0.0
        while not done.wait(0.05):
            server.execute(_END_OTHERS, (name, waited >= _GRACE))
            waited += 0.05


def kept_by_refreshes(server: psycopg.Connection[Any], database: str) -> list[str]:
    """The databases that refreshes of this one have put aside, the oldest first."""
    rows = server.execute(
        "SELECT datname FROM pg_database WHERE shobj_description(oid, 'pg_database') = %s ORDER BY 1",
        (refresh_comment(database),),
    ).fetchall()
    return [name for (name,) in rows]
