"""Whether a restore would overwrite what a protected environment looks after, wherever its address leads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jobs.backup.postgres.connection import Reached
from jobs.backup.restore.target import TargetState
from jobs.backup.sets import manifest
from jobs.backup.sets.sets import Set, sets
from jobs.run.job import Failed
from jobs.store import StoreError, open_store

if TYPE_CHECKING:
    from inventories import Environment, Repository


_HERE = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Guarded:
    """A database of a protected environment: None for "any" or "not known"."""

    environment: str
    database: str | None
    address: tuple[str, str] | None
    system_identifier: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The protected environments that a target belongs to, and those of which it could not be told."""

    of: tuple[str, ...]
    unknown: tuple[str, ...]


def verdict(repository: Repository, into: Reached, place: TargetState) -> Verdict:
    """Hold a target against everything that protected environments name or have backed up."""
    from inventories import BadEnvironment

    found: list[str] = []
    unknown: list[str] = []
    for name in repository.names():
        try:
            environment = repository.read(name)
        except BadEnvironment as error:
            unknown.append(f"{name}: {error.lines[0]}")
            continue
        if not environment.protected:
            continue
        guarded = list(_named(environment))
        try:
            guarded += _backed_up(environment)
        except (StoreError, Failed, BadEnvironment) as error:
            unknown.append(f"{name}: {error}")
        if any(same(one, address(into.parameters), place) for one in guarded):
            found.append(name)
    return Verdict(tuple(found), tuple(unknown))


def same(guarded: Guarded, at: tuple[str, str], place: TargetState) -> bool:
    """The same database on the same server, told by what the server says of itself or by its address."""
    if guarded.database not in (None, place.database):
        return False
    if place.system_identifier and place.system_identifier == guarded.system_identifier:
        return True
    return guarded.address == at


def address(parameters: Mapping[str, str]) -> tuple[str, str]:
    """Host and port as libpq understands them; this machine has several names, and sockets."""
    host = parameters.get("host", "").lower()
    here = host in _HERE or host.startswith(("/", "@"))
    return "localhost" if here else host, parameters.get("port") or "5432"


def _named(environment: Environment) -> Iterator[Guarded]:
    from psycopg.conninfo import conninfo_to_dict

    for database in environment.databases.values():
        given = {key: str(value) for key, value in conninfo_to_dict(database.url).items()}
        yield Guarded(environment.name, given.get("dbname"), None if database.via else address(given), None)
    for server in environment.servers.values():
        given = {key: str(value) for key, value in conninfo_to_dict(server.url).items()}
        yield Guarded(environment.name, None, None if server.via else address(given), None)


def _backed_up(environment: Environment) -> Iterator[Guarded]:
    """What the newest manifest of each database says of its server."""
    if environment.store is None:
        return
    store = open_store(environment.store)
    newest: dict[str, Set] = {one.database: one for one in sets(store, environment.name) if one.complete}
    for database, one in newest.items():
        key = one.prefix + manifest.NAME
        server = manifest.read(store.get(key).body, key).server
        yield Guarded(environment.name, _name_on_server(environment, database), None, server.system_identifier or None)


def _name_on_server(environment: Environment, database: str) -> str | None:
    from psycopg.conninfo import conninfo_to_dict

    if database in environment.databases:
        name = conninfo_to_dict(environment.databases[database].url).get("dbname")
        return str(name) if name is not None else None
    return unquote(database.partition(".")[2]) or None
