"""What a timer's runs need from the machine or cluster: secrets, time, writable directories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from inventories import Environment, Secret
from jobs.checks.secrets import secrets_in
from jobs.registry import find_job
from jobs.schedule.slots import Timer

DEFAULT_LIMIT = timedelta(hours=6)
MARGIN = timedelta(minutes=15)  # a run stops itself at its limit; the scheduler waits this much longer
LONG_DATABASES = 4  # so many of a server's databases can take the full limit, two at a time

DATABASE_CLIENTS = ("backup",)


def run_timeout(environment: Environment, timer: Timer) -> timedelta:
    """Return when the scheduler stops a run that ignores its own time limit."""
    if timer.job == "copy":
        return find_job(timer.job).limit(environment, "") + MARGIN
    databases = sum(
        (environment.databases[name].limits.run for name in timer.names if name in environment.databases), timedelta()
    )
    servers = sum(
        (environment.servers[name].limits.run for name in timer.names if name in environment.servers), timedelta()
    )
    stanzas = sum((each.limits.run for each in environment.pitr.values() if each.subject in timer.names), timedelta())
    return (databases + LONG_DATABASES * servers + stanzas or DEFAULT_LIMIT) + MARGIN


def secrets_of(environment: Environment, timer: Timer, others: Mapping[str, Environment]) -> tuple[Secret, ...]:
    """Return the secrets that the timer's runs read, without duplicates: no run gets a secret that it does not use."""
    return tuple(dict.fromkeys(secret for secret in _secrets(environment, timer, others) if secret))


def _secrets(environment: Environment, timer: Timer, others: Mapping[str, Environment]) -> Iterator[Secret | None]:
    yield from environment.alerts.addresses_of(timer.job)
    yield environment.alerts.heartbeat.get(timer.job)
    if timer.job in DATABASE_CLIENTS:
        tables = {**environment.databases, **environment.servers}
        yield from (tables[name].password for name in timer.names)
    if timer.job == "backup":
        yield environment.store.signing_key if environment.store else None
    if timer.job == "verify":
        yield environment.verify.password
        yield environment.verify.sign_with
        yield environment.store.decrypt_with if environment.store else None
    if timer.job == "hosts":
        yield environment.hosts.ssh_key if environment.hosts else None
    if timer.job == "refresh":
        for copy in (environment.refresh[name] for name in timer.names):
            source = others[copy.source_environment]
            yield copy.password
            yield copy.restore_as_password
            yield source.store.decrypt_with if source.store else None


def hidden_files(
    environment: Environment, used_secrets: Iterable[Secret], others: Mapping[str, Environment]
) -> tuple[str, ...]:
    """Return the files of all secrets that a run does not use. One user runs all jobs, and could read each of them."""
    used = {secret.file for secret in used_secrets}
    known = (secret.file for each in (environment, *others.values()) for _, secret in secrets_in(each))
    return tuple(sorted({str(file) for file in known if file and file not in used}))


def credential_names(secrets: tuple[Secret, ...]) -> tuple[str, ...]:
    """Return the names of the secrets that the scheduler passes as files."""
    return tuple(dict.fromkeys(secret.env for secret in secrets if secret.env))


def writable_folders(environment: Environment) -> tuple[str, ...]:
    """Return the directories that runs write to, outside of the service's state directory."""
    stores = [environment.store] if environment.store else []
    urls = [urlsplit(each.url) for each in (*stores, *environment.copies.values())]
    store_folders = [url.path for url in urls if url.scheme == "file"]
    metrics_folder = [str(environment.metrics.textfile.parent)] if environment.metrics.textfile else []
    return (*store_folders, *metrics_folder)
