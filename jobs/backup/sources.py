"""The databases of an environment: those in its file, and those discovered on its servers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from jobs.backup.postgres.connection import reach, translate_error
from jobs.backup.postgres.copies import parse_restoring_name
from jobs.backup.sets.sets import Set, find_sets
from jobs.run.job import Failed, Options, Transient, UnknownName

if TYPE_CHECKING:
    from inventories import DatabaseSettings, Environment, ServerSettings
    from jobs.store import Store

# Internal databases of managed services, which reject all connections.
_PROVIDER_DATABASES = ("rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys")

_LIST_DATABASES = (
    "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 ORDER BY 1"
)


def subject_name(server: str, database: str) -> str:
    """Return the name of a server's database, such as `main.shop`, percent-encoded to be safe in keys."""
    return f"{server}.{quote(database, safe='')}"


def section_of(environment: Environment, name: str) -> tuple[DatabaseSettings | ServerSettings, str | None]:
    """Return a subject's section of the environment file, and the database if the section is a server's."""
    if name in environment.databases:
        return environment.databases[name], None
    server, dot, database = name.partition(".")
    if server in environment.servers:
        return environment.servers[server], unquote(database) if dot else None
    raise UnknownName(f"{environment.name}: there is no database {name}; {_known_names(environment)}")


def restore_streams(environment: Environment, name: str) -> int:
    """Return the default number of restore streams: one more than for the backup, since one usually waits for disk."""
    return (section_of(environment, name)[0].parallel if is_known(environment, name) else 2) + 1


def is_known(environment: Environment, name: str) -> bool:
    """Whether the file names the database or its server."""
    try:
        section_of(environment, name)
    except UnknownName:
        return False
    return True


def _known_names(environment: Environment) -> str:
    names = [*environment.databases, *(f"{server}.<database>" for server in environment.servers)]
    return f"there are: {', '.join(names)}" if names else "add [databases.NAME] or [servers.NAME] to its file"


def sets_of(environment: Environment, store: Store, name: str) -> list[Set]:
    """Return the sets of a database, even if the file no longer names it; UnknownName if it has neither."""
    sets = list(find_sets(store, environment.name, name))
    if not sets:
        section_of(environment, name)
    return sets


def select_databases(names: Iterable[str], exclude: Sequence[str]) -> list[str]:
    """Return the databases of a server to back up, without excluded ones and copies that a restore is filling."""
    return [
        name
        for name in names
        if name not in _PROVIDER_DATABASES
        and not parse_restoring_name(name)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    ]


def databases_to_back_up(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return the databases to back up. An unreachable server stays a subject, so that its run reports the reason."""
    selected = options.only or (*environment.databases, *environment.servers)
    expanded = [subject for name in selected for subject in _expanded(environment, store, name)]
    return [name for name in dict.fromkeys(expanded) if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of a database's backups; all databases of a server share it."""
    line = section_of(environment, name)[0].backup
    return str(line) if line is not None else None


def _expanded(environment: Environment, store: Store, name: str) -> list[str]:
    section_of(environment, name)
    if name not in environment.servers:
        return [name]
    try:
        discovered = discover_databases(environment, store, environment.servers[name])
        return [subject_name(name, database) for database in discovered]
    except (Failed, Transient):
        return [name]


def discover_databases(environment: Environment, store: Store, server: ServerSettings) -> list[str]:
    """Return the databases that a server has now, without excluded ones."""
    import psycopg

    from jobs.run import unrecorded_run

    with (
        unrecorded_run(environment, store, "backup", server.name) as run,
        reach(run, server) as endpoint,
        endpoint.connect(autocommit=True) as connection,
    ):
        try:
            rows = connection.execute(_LIST_DATABASES).fetchall()
        except psycopg.Error as error:
            raise translate_error(error) from None
    return select_databases((name for (name,) in rows), server.exclude)
