"""The databases of an environment: those in its file, and those discovered on its servers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote

from jobs.backup.places import open_copy, split_copy
from jobs.backup.postgres.connection import reach, translate_error, with_names_of_any_encoding
from jobs.backup.postgres.copies import is_replaced_name, parse_restoring_name
from jobs.backup.sets.sets import Set, find_newest_sets, find_sets
from jobs.backup.sets.trust import trust_of
from jobs.format import and_more
from jobs.run.documents import utc_now
from jobs.run.job import Failed, Options, Transient, UnknownName
from jobs.store import ListedPrefix, StoreError

if TYPE_CHECKING:
    from inventories import DatabaseSettings, Environment, Secret, ServerSettings
    from jobs.store import Store

T = TypeVar("T")

# Internal databases of managed services, which reject all connections.
_PROVIDER_DATABASES = ("rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys")

_SHOWN = 5

# Also templates and closed databases: their owner can have made them so.
_LIST_DATABASES = """SELECT datname, datallowconn FROM pg_catalog.pg_database
    WHERE datname NOT IN ('template0', 'template1') AND datconnlimit <> -2 ORDER BY 1"""


def subject_name(server: str, database: str) -> str:
    """Return the name of a server's database, such as `main.shop`, percent-encoded to be safe in keys."""
    return f"{server}.{quote(database, safe='')}"


def server_of(name: str) -> str | None:
    """Return the server in the name of one of its databases; None for a database with its own section."""
    server, dot, _ = name.partition(".")
    return server if dot else None


def by_server(items: Iterable[T], name: Callable[[T], str]) -> list[tuple[str | None, list[T]]]:
    """Group items by the server of their database: first those without a server; the order within a group stays."""
    groups: dict[str | None, list[T]] = {}
    for item in items:
        groups.setdefault(server_of(name(item)), []).append(item)
    return sorted(groups.items(), key=lambda group: group[0] or "")


def section_of(environment: Environment, name: str) -> tuple[DatabaseSettings | ServerSettings, str | None]:
    """Return a subject's section of the environment file, and the database if the section is a server's."""
    if name in environment.databases:
        return environment.databases[name], None
    server, dot, database = name.partition(".")
    if server in environment.servers:
        return environment.servers[server], unquote(database) if dot else None
    raise UnknownName(f"{environment.name}: there is no database {name}; {_known_names(environment)}")


def password_in_file(environment: Environment, url: str) -> Secret | None:
    """Return the password of the section whose server and user a URL names, if the URL itself has none."""
    from psycopg.conninfo import conninfo_to_dict

    wanted = conninfo_to_dict(url)
    if wanted.get("password"):
        return None
    for section in (*environment.databases.values(), *environment.servers.values()):
        known = conninfo_to_dict(section.url)
        same = all(wanted.get(key) == known.get(key) for key in ("host", "user"))
        if same and (wanted.get("port") or "5432") == (known.get("port") or "5432") and section.via is None:
            return section.password
    return None


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


def is_known_anywhere(environment: Environment, name: str) -> bool:
    """Whether the file names the database, its server, or the copy that it is in."""
    return split_copy(environment, name)[0] is not None or is_known(environment, name)


def subjects_of_copy(environment: Environment, name: str, job: str) -> list[str]:
    """Return the subjects that the name of a copy, or of a database there, selects.

    A copy that cannot be read stays a subject, so that its run reports the reason.
    """
    settings, database = split_copy(environment, name)
    if settings is None or database:
        return [name]
    try:
        store = open_copy(environment, settings, job)
        stored = databases_with_sets(environment, store)
        return [f"{name}.{each}" for each in stored if has_trusted_set(environment, store, each)]
    except StoreError:
        return [name]


def _known_names(environment: Environment) -> str:
    names = [*environment.databases, *(f"{server}.<database>" for server in environment.servers)]
    return f"there are: {', '.join(names)}" if names else "add [databases.NAME] or [servers.NAME] to its file"


def sets_of(environment: Environment, store: Store, name: str) -> list[Set]:
    """Return the sets of a database, even if the file no longer names it; UnknownName if it has neither."""
    sets = list(find_sets(store, environment, name))
    if not sets:
        section_of(environment, name)
    return sets


def databases_with_sets(environment: Environment, store: Store) -> list[str]:
    """Return the names of the databases that have sets, also incomplete ones."""
    root = f"{environment.name}/backups/"
    folders = store.folders(root)
    return [folder.key[len(root) :].rstrip("/") for folder in folders if isinstance(folder, ListedPrefix)]


def subjects_named(environment: Environment, store: Store, name: str, stored: Iterable[str]) -> list[str]:
    """Return a database of the file itself, or the databases of a server, of those with sets in the store."""
    if name not in environment.servers:
        return [name]
    return [each for each in stored if each.startswith(f"{name}.") and has_trusted_set(environment, store, each)]


def has_trusted_set(environment: Environment, store: Store, database: str) -> bool:
    """Whether a trusted key signed a set of a database: anybody who can write the store can invent a database."""
    found = find_newest_sets(store, environment.name, database, utc_now(), bool, trust=trust_of(environment))
    return any(each.complete and each.untrusted is None for each in found.sets)


def require_sets_of_servers(environment: Environment, names: Iterable[str], stored: Collection[str]) -> None:
    """Raise UnknownName for a server's database without sets: only sets show whether it ever existed."""
    for name in names:
        _, database = section_of(environment, name)
        if database is not None and name not in stored:
            server = name.partition(".")[0]
            known = and_more([each for each in stored if each.startswith(f"{server}.")], _SHOWN) or "none"
            raise UnknownName(
                f"{environment.name}: {name} has no backup sets; databases of {server} with sets: {known}"
            )


def select_databases(names: Iterable[str], exclude: Sequence[str]) -> list[str]:
    """Return the databases of a server to back up, without excluded ones and what restores leave beside a database."""
    existing = list(names)
    return [
        name
        for name in existing
        if name not in _PROVIDER_DATABASES
        and not parse_restoring_name(name)
        and not any(is_replaced_name(name, original) for original in existing)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    ]


def databases_to_back_up(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return the databases to back up. An unreachable server stays a subject, so that its run reports the reason."""
    selected = options.only or (*environment.databases, *environment.servers)
    databases_of = cache(lambda server: list_databases(environment, store, environment.servers[server]))
    expanded = [subject for name in selected for subject in _expanded(environment, store, name, databases_of)]
    return [name for name in dict.fromkeys(expanded) if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of a database's backups; all databases of a server share it."""
    line = section_of(environment, name)[0].backup
    return str(line) if line is not None else None


def _expanded(
    environment: Environment, store: Store, name: str, databases_of: Callable[[str], Mapping[str, bool]]
) -> list[str]:
    """Return the subjects that a name selects: itself, or the databases of its server without excluded ones.

    A database that accepts no connections is one if it has sets: its runs fail, and so report that it gets no more.
    """
    _, database = section_of(environment, name)
    if name in environment.databases:
        return [name]
    server = name.partition(".")[0]
    try:
        existing = databases_of(server)
    except (Failed, Transient):
        has_sets = database is not None and any(find_sets(store, environment, name))
        return [name if has_sets else server]
    if database is None:
        wanted = select_databases(existing, environment.servers[server].exclude)
        subjects = {subject_name(server, each): existing[each] for each in wanted}
        return [each for each, is_open in subjects.items() if is_open or any(find_sets(store, environment, each))]
    if database not in existing:
        known = and_more([subject_name(server, each) for each in existing], _SHOWN)
        raise UnknownName(f"{environment.name}: there is no database {name}; there are: {known}")
    return [name]


def list_databases(environment: Environment, store: Store, server: ServerSettings) -> dict[str, bool]:
    """Return the databases that a server has now, and whether each accepts connections."""
    import psycopg

    from jobs.run import unrecorded_run

    with (
        unrecorded_run(environment, store, "backup", server.name) as run,
        reach(run, server) as endpoint,
        endpoint.connect(autocommit=True) as connection,
    ):
        try:
            rows = with_names_of_any_encoding(connection).execute(_LIST_DATABASES).fetchall()
        except psycopg.Error as error:
            raise translate_error(error) from None
    return dict(rows)
