"""Export the schedule as Kubernetes CronJobs and their service account."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from inventories import PITR, Environment
from jobs.run.ticks import period
from jobs.schedule.due import describe_line
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.clock_changes import matches, skipped_ticks
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import portable_fields, ranges
from jobs.schedule.export.files import File, made_by, render
from jobs.schedule.export.needs import DATABASE_CLIENTS, credential_names, run_timeout, secrets_of
from jobs.schedule.slots import Timer

AN_HOUR, A_DAY = 3600, 86400
SCRATCH_SOCKET = "/run/scratch"
"""The socket directory of the scratch server in a container beside the one that verifies."""
LONGEST_NAME = 52  # Kubernetes appends up to eleven characters to a CronJob's name


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A key of the Secret and the path at which the environment file expects it."""

    key: str
    path: str


@dataclass(frozen=True, slots=True)
class CronJob:
    """One CronJob of the manifest."""

    name: str
    timer: Timer
    fields: str
    why: str
    seconds: int
    deadline: int
    keys: tuple[str, ...]
    files: tuple[SecretFile, ...]
    scratch: bool
    """Whether a second container runs the scratch server of a verification."""


def files(
    environment: Environment,
    timers: Sequence[Timer],
    destination: Destination,
    others: Mapping[str, Environment],
    now: datetime,
) -> tuple[File, ...]:
    """Return one manifest with a CronJob for each timer."""
    _refuse_what_pods_cannot_reach(environment, timers)
    jobs = [job for timer in timers for job in _cron_jobs(environment, timer, others, now)]
    manifest = render(
        "kubernetes.j2",
        made_by=made_by("kubernetes", environment.name),
        environment=environment.name,
        zone=environment.timezone.key,
        jobs=jobs,
        destination=destination,
        scratch_socket=SCRATCH_SOCKET,
    )
    return (File(f"groundcrew-{environment.name}.yaml", manifest),)


def _refuse_what_pods_cannot_reach(environment: Environment, timers: Sequence[Timer]) -> None:
    """Refuse a store in a directory, and databases that are reached through kubectl."""
    if environment.store and environment.store.url.startswith("file:"):
        raise UnsupportedSchedule(
            f"{environment.store.url}: pods cannot share a directory of one machine; use an S3 store"
        )
    socket = _scratch_socket(environment)
    if socket not in {None, SCRATCH_SOCKET} and any(timer.job == "verify" for timer in timers):
        raise UnsupportedSchedule(
            f"verify.scratch: a pod has no socket in {socket}; use host={SCRATCH_SOCKET} for a server in a container "
            "of its own, or name a server that the cluster reaches by TCP"
        )
    if stanzas := [name for timer in timers for name in timer.names if name.startswith(f"{PITR}.")]:
        raise UnsupportedSchedule(
            f"{', '.join(stanzas)}: the image has no pgBackRest; verify stanzas on a machine that has it and "
            "PostgreSQL's server programs, and write no `verify` here"
        )
    tables = {**environment.databases, **environment.servers}
    for database in (name for timer in timers if timer.job in DATABASE_CLIENTS for name in timer.names):
        via = tables[database].via
        if via and via.kubernetes:
            raise UnsupportedSchedule(
                f"{database}: a pod has no token, so it cannot reach {via.kubernetes} through kubectl; "
                "write the database's url inside the cluster, without via"
            )


def _scratch_socket(environment: Environment) -> str | None:
    """Return the socket directory in the URL of the scratch server; None if it has none."""
    [host] = parse_qs(urlsplit(environment.verify.scratch).query).get("host", [""])[-1:]
    return host if host.startswith("/") else None


def kubernetes_fields(line: str) -> str:
    """Return the line as Kubernetes reads it."""
    fields = portable_fields(line)
    dates, weekdays = fields[2], fields[4]
    if "*" not in (dates, weekdays) and "*" in dates + weekdays:
        raise UnsupportedSchedule(
            f'"{line}": with a step such as */2 in a day field, cron requires both date and weekday, Kubernetes '
            "either; write the days as numbers in one of the fields and * in the other"
        )
    return " ".join(fields)


def clock_change_lines(line: str, zone: ZoneInfo, now: datetime) -> tuple[str, ...]:
    """Return extra lines for the ticks that Kubernetes skips in a missing hour; on other days they find a record."""
    skipped = [tick.astimezone(zone) for tick in skipped_ticks(line, zone, now, matches)]
    times: dict[tuple[int, int, int], set[int]] = {}
    for local in skipped:
        times.setdefault((local.minute, local.hour, local.month), set()).add(local.day)
    return tuple(
        f"{minute} {hour} {ranges(range(min(days), max(days) + 1), '-')} {month} *"
        for (minute, hour, month), days in sorted(times.items())
    )


def _cron_jobs(
    environment: Environment, timer: Timer, others: Mapping[str, Environment], now: datetime
) -> Iterator[CronJob]:
    secrets = secrets_of(environment, timer, others)
    secret_files = tuple(
        SecretFile(".".join(secret.file.parts[1:]), str(secret.file)) for secret in secrets if secret.file
    )
    keys = (*credential_names(secrets), *(file.key for file in secret_files))
    seconds = int(run_timeout(environment, timer).total_seconds())
    deadline = min(int(period(timer.line, environment.timezone, now).total_seconds()), A_DAY)
    why, fields = describe_line(timer.line), kubernetes_fields(timer.line)
    scratch = timer.job == "verify" and _scratch_socket(environment) is not None
    yield CronJob(resource_name(timer.unit), timer, fields, why, seconds, deadline, keys, secret_files, scratch)
    for number, line in enumerate(clock_change_lines(timer.line, environment.timezone, now), start=1):
        name, why = resource_name(f"{timer.unit}-clocks-{number}"), "for the missing hour, which Kubernetes skips"
        yield CronJob(name, timer, line, why, seconds, AN_HOUR, keys, secret_files, scratch)


def resource_name(unit: str) -> str:
    """Return a valid Kubernetes name: lower case, short, and unique for each unit."""
    valid = unit.lower().replace("_", "-").replace(".", "-")
    if valid == unit and len(valid) <= LONGEST_NAME:
        return valid
    return f"{valid[: LONGEST_NAME - 9]}-{sha256(unit.encode()).hexdigest()[:8]}"
