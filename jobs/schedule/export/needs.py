"""What a timer's runs need of the place they run in: secrets, time, folders to write to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from inventories import Environment, Secret
from jobs.schedule.slots import Timer

DEFAULT_LIMIT = timedelta(hours=6)
MARGIN = timedelta(minutes=15)
LONG_DATABASES = 4  # of a server's databases so many may take as long as each is allowed to, two at a time

DATABASE_CLIENTS = ("backup",)


def run_timeout(environment: Environment, timer: Timer) -> timedelta:
    """When a run that does not even obey its own time limits is to be ended from outside."""
    databases = sum(
        (environment.databases[name].limits.run for name in timer.names if name in environment.databases), timedelta()
    )
    servers = sum(
        (environment.servers[name].limits.run for name in timer.names if name in environment.servers), timedelta()
    )
    return (databases + LONG_DATABASES * servers or DEFAULT_LIMIT) + MARGIN


def secrets_of(environment: Environment, timer: Timer, sources: Mapping[str, Environment]) -> tuple[Secret, ...]:
    """The secrets that these runs reveal, each once: no key goes where it is not used."""
    return tuple(dict.fromkeys(secret for secret in _secrets(environment, timer, sources) if secret))


def _secrets(environment: Environment, timer: Timer, sources: Mapping[str, Environment]) -> Iterator[Secret | None]:
    yield from environment.alerts.to
    yield environment.alerts.heartbeat.get(timer.job)
    if timer.job in DATABASE_CLIENTS:
        tables = {**environment.databases, **environment.servers}
        yield from (tables[name].password for name in timer.names)
    if timer.job == "verify":
        yield environment.verify.password
        yield environment.store.decrypt_with if environment.store else None
    if timer.job == "refresh":
        for copy in (environment.refresh[name] for name in timer.names):
            source = sources[copy.source_environment]
            yield copy.password
            yield source.store.decrypt_with if source.store else None


def credential_names(wanted: tuple[Secret, ...]) -> tuple[str, ...]:
    """The names under which a service manager may hand secrets over as files."""
    return tuple(dict.fromkeys(secret.env for secret in wanted if secret.env))


def writable_folders(environment: Environment) -> tuple[str, ...]:
    """What is written to outside of the service's own folders."""
    store = urlsplit(environment.store.url) if environment.store else None
    kept = [store.path] if store and store.scheme == "file" else []
    measured = [str(environment.metrics.textfile.parent)] if environment.metrics.textfile else []
    return (*kept, *measured)
