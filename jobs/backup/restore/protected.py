"""Find out whether the target of a restore belongs to a protected environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.target import RestoreTarget
from jobs.backup.sets.sets import find_sets
from jobs.backup.sets.stored import open_first
from jobs.backup.sources import subject_name
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


def find_protection(
    repository: Repository, into: Endpoint, target: RestoreTarget, *, ask_stores: bool = True
) -> Protection:
    """Compare a target with the databases and servers in the files of protected environments, then in their backups.

    The backups show the system identifier of a server that the target has under another address. They are read only of
    environments that name such a database or a server, and only if no address has decided.
    """
    from inventories import BadEnvironment

    protected_by: list[str] = []
    unchecked: dict[str, str] = {}
    address = host_and_port(into.parameters)
    for name in repository.names():
        try:
            environment = repository.read(name)
        except BadEnvironment as error:
            unchecked[name] = error.lines[0]
            continue
        if not environment.protected:
            continue
        is_protected = any(is_same_database(each, address, target) for each in _configured(environment))
        if not is_protected and ask_stores and target.system_identifier:
            try:
                is_protected = any(is_same_database(each, address, target) for each in _backed_up(environment, target))
            except (StoreError, Failed, BadEnvironment) as error:
                unchecked[name] = str(error)
        if is_protected:
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


def _backed_up(environment: Environment, target: RestoreTarget) -> Iterator[ProtectedDatabase]:
    """Yield the backed-up databases that can be the target; the newest trusted manifest of each names its server."""
    subjects = _subjects_named(environment, target.database)
    if not subjects or environment.store is None or environment.store.url.startswith(_EXAMPLE_STORE):
        return
    store = open_store(environment.store)
    require_mark(store, environment.name)
    for subject in subjects:
        complete = [each for each in find_sets(store, environment, subject) if each.complete]
        newest_first = sorted(complete, key=lambda each: each.sort_key, reverse=True)
        trusted = [each for each in newest_first if each.untrusted is None]
        if complete and not trusted:
            raise BackupError(f"no trusted key signed a set of {subject}")
        if trusted:
            _, stored, _ = open_first(store, trusted, None)
            identifier = stored.manifest.server.system_identifier
            yield ProtectedDatabase(environment.name, target.database, None, identifier or None)


def _subjects_named(environment: Environment, database: str) -> list[str]:
    """Return the names, in the file, of the databases that have this name on their server."""
    from psycopg.conninfo import conninfo_to_dict

    own = [name for name, each in environment.databases.items() if conninfo_to_dict(each.url).get("dbname") == database]
    return [*own, *(subject_name(server, database) for server in environment.servers)]
