"""Find out whether the target of a restore belongs to a protected environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.target import RestoreTarget
from jobs.backup.sets.sets import find_sets
from jobs.backup.sets.stored import open_set
from jobs.run.job import Failed
from jobs.store import StoreError, open_store, require_mark

if TYPE_CHECKING:
    from inventories import Environment, Repository


_LOCAL_HOSTS = ("", "localhost", "127.0.0.1", "::1")
_EXAMPLE_STORE = "s3://acme-"  # as in the environments that we ship: somebody else can own a bucket of that name


@dataclass(frozen=True, slots=True)
class ProtectedDatabase:
    """A database of a protected environment, as far as it is known.

    Without `database` it stands for every database of the server.
    """

    environment: str
    database: str | None
    address: tuple[str, str] | None
    system_identifier: str | None


@dataclass(frozen=True, slots=True)
class Protection:
    """The protected environments that a target belongs to, and others by name with why they could not be checked."""

    environments: tuple[str, ...]
    unchecked: Mapping[str, str]


def find_protection(repository: Repository, into: Endpoint, target: RestoreTarget) -> Protection:
    """Compare a target with all databases that protected environments name or have backed up."""
    from inventories import BadEnvironment

    protected_by: list[str] = []
    unchecked: dict[str, str] = {}
    for name in repository.names():
        try:
            environment = repository.read(name)
        except BadEnvironment as error:
            unchecked[name] = error.lines[0]
            continue
        if not environment.protected:
            continue
        databases = list(_configured(environment))
        try:
            databases += _backed_up(environment)
        except (StoreError, Failed, BadEnvironment) as error:
            unchecked[name] = str(error)
        if any(is_same_database(database, host_and_port(into.parameters), target) for database in databases):
            protected_by.append(name)
    return Protection(tuple(protected_by), unchecked)


def is_same_database(protected: ProtectedDatabase, address: tuple[str, str], target: RestoreTarget) -> bool:
    """Whether both are the same database on the same server, by its system identifier or its address."""
    if protected.database not in (None, target.database):
        return False
    if target.system_identifier and target.system_identifier == protected.system_identifier:
        return True
    return protected.address == address


def host_and_port(parameters: Mapping[str, str]) -> tuple[str, str]:
    """Return host and port as libpq reads them. All names and sockets of this machine become `localhost`."""
    host = parameters.get("host", "").lower()
    local = host in _LOCAL_HOSTS or host.startswith(("/", "@"))
    return "localhost" if local else host, parameters.get("port") or "5432"


def _configured(environment: Environment) -> Iterator[ProtectedDatabase]:
    """Yield the databases and servers in the environment file."""
    from psycopg.conninfo import conninfo_to_dict

    for database in environment.databases.values():
        parameters = {key: str(value) for key, value in conninfo_to_dict(database.url).items()}
        address = None if database.via else host_and_port(parameters)
        yield ProtectedDatabase(environment.name, parameters.get("dbname"), address, None)
    for server in environment.servers.values():
        parameters = {key: str(value) for key, value in conninfo_to_dict(server.url).items()}
        address = None if server.via else host_and_port(parameters)
        yield ProtectedDatabase(environment.name, None, address, None)


def _backed_up(environment: Environment) -> Iterator[ProtectedDatabase]:
    """Yield the databases with a backup; the newest trusted manifest of each has the identifier of its server."""
    if environment.store is None or environment.store.url.startswith(_EXAMPLE_STORE):
        return
    store = open_store(environment.store)
    require_mark(store, environment.name)
    for database, sets in groupby(find_sets(store, environment), key=lambda each: each.database):
        newest_first = sorted((each for each in sets if each.complete), key=lambda each: each.sort_key, reverse=True)
        newest = next((each for each in newest_first if each.untrusted is None), None)
        if newest is not None:
            server = open_set(store, newest, None).manifest.server
            name = _name_on_server(environment, database)
            yield ProtectedDatabase(environment.name, name, None, server.system_identifier or None)


def _name_on_server(environment: Environment, database: str) -> str | None:
    from psycopg.conninfo import conninfo_to_dict

    if database in environment.databases:
        name = conninfo_to_dict(environment.databases[database].url).get("dbname")
        return str(name) if name is not None else None
    return unquote(database.partition(".")[2]) or None
