"""Which databases an environment backs up: those it names, and those that its servers turn out to have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import reach, verdict
from jobs.backup.postgres.copies import parse_restoring_name
from jobs.backup.sets.sets import Set, sets
from jobs.run.job import Failed, Options, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import DatabaseSettings, Environment, ServerSettings
    from jobs.store import Store

# Databases that a provider keeps for itself and lets nobody into.
_OF_PROVIDERS = ("rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys")

_DATABASES = (
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY 1"
)


def subject(server: str, database: str) -> str:
    """What a server's database is known as: `main.shop`; what no key could bear is written %20."""
    return f"{server}.{quote(database, safe='')}"


def source(environment: Environment, name: str) -> tuple[DatabaseSettings | ServerSettings, str | None]:
    """The section of the environment file that a subject belongs to, and the database if that doesn't name it."""
    if name in environment.databases:
        return environment.databases[name], None
    server, dot, database = name.partition(".")
    if server in environment.servers:
        return environment.servers[server], unquote(database) if dot else None
    raise UnknownName(f"{environment.name}: there is no database {name}; there {_known(environment)}")


def streams(environment: Environment, name: str) -> int:
    """How many a restore takes, unless it is told: one more than the backup, for one waits for the disk at any time."""
    return (source(environment, name)[0].parallel if knows(environment, name) else 2) + 1


def knows(environment: Environment, name: str) -> bool:
    """Whether the file names it, or the server that it is or was on."""
    try:
        source(environment, name)
    except UnknownName:
        return False
    return True


def _known(environment: Environment) -> str:
    names = [*environment.databases, *(f"{server}.<database>" for server in environment.servers)]
    return f"are: {', '.join(names)}" if names else "are none: add [databases.NAME] or [servers.NAME] to its file"


def sets_of(environment: Environment, store: Store, name: str) -> list[Set]:
    """The sets of a database, also of one that the file no longer names."""
    found = list(sets(store, environment.name, name))
    if not found:
        source(environment, name)
    return found


def chosen(found: Iterable[str], exclude: Sequence[str]) -> list[str]:
    """The databases of a server that are backed up; a copy that a restore is filling is none yet."""
    return [
        name
        for name in found
        if name not in _OF_PROVIDERS
        and not parse_restoring_name(name)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    ]


def subjects(environment: Environment, options: Options) -> list[str]:
    """What a backup run works on. A server that can't be asked is a subject of its own, which then says why."""
    wanted = options.only or (*environment.databases, *environment.servers)
    found = [name for one in wanted for name in _expanded(environment, one)]
    return [name for name in dict.fromkeys(found) if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """The cron line of a database, which all databases of a server share."""
    line = source(environment, name)[0].backup
    return str(line) if line is not None else None


def _expanded(environment: Environment, name: str) -> list[str]:
    source(environment, name)
    if name not in environment.servers:
        return [name]
    try:
        return [subject(name, database) for database in databases(environment, environment.servers[name])]
    except (Failed, Transient):
        return [name]


def databases(environment: Environment, server: ServerSettings) -> list[str]:
    """The databases that a server has now, less those that are left alone."""
    import psycopg

    from jobs.run import unrecorded_run
    from jobs.store import open_store

    if environment.store is None:
        raise BackupError(f"{environment.name} has no [store] to keep backups in")
    with (
        unrecorded_run(environment, open_store(environment.store, "backup"), "backup", server.name) as run,
        reach(run, server) as reached,
        reached.connect(autocommit=True) as connection,
    ):
        try:
            rows = connection.execute(_DATABASES).fetchall()
        except psycopg.Error as error:
            raise verdict(error) from None
    return chosen((name for (name,) in rows), server.exclude)
