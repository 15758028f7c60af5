"""The schedule as CronJobs, and the service account they run as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.run.ticks import period
from jobs.schedule.due import words
from jobs.schedule.export import Inexpressible
from jobs.schedule.export.clock_changes import lost, matches
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import plain, ranges
from jobs.schedule.export.files import File, render
from jobs.schedule.export.needs import ASKS_DATABASES, limit, secrets, variables
from jobs.schedule.slots import Timer

AN_HOUR, A_DAY = 3600, 86400
LONGEST_NAME = 52  # Kubernetes adds eleven characters of its own to the name of a CronJob


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A file of the Secret at the path where the environment file looks for it."""

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


def files(
    environment: Environment,
    timers: Sequence[Timer],
    place: Destination,
    sources: Mapping[str, Environment],
    now: datetime,
) -> tuple[File, ...]:
    """One manifest with a CronJob for every line."""
    _refuse_what_pods_lack(environment, timers)
    jobs = [job for timer in timers for job in _jobs(environment, timer, sources, now)]
    manifest = render(
        "kubernetes.j2", environment=environment.name, zone=environment.timezone.key, jobs=jobs, place=place
    )
    return (File(f"groundcrew-{environment.name}.yaml", manifest),)


def _refuse_what_pods_lack(environment: Environment, timers: Sequence[Timer]) -> None:
    """A store that is a directory, and databases that only kubectl gets to."""
    if environment.store and environment.store.url.startswith("file:"):
        raise Inexpressible(
            f"{environment.store.url}: a directory is on one machine, and pods come and go; use an S3 store"
        )
    tables = {**environment.databases, **environment.servers}
    for database in (each for timer in timers if timer.job in ASKS_DATABASES for each in timer.names):
        via = tables[database].via
        if via and via.kubernetes:
            raise Inexpressible(
                f"{database}: kubectl's way to {via.kubernetes} is closed to a pod, which has no token; "
                "write the url that it has inside the cluster, without via"
            )


def fields(line: str) -> str:
    """The line as Kubernetes reads it."""
    told = plain(line)
    dates, weekdays = told[2], told[4]
    if "*" not in (dates, weekdays) and "*" in dates + weekdays:
        raise Inexpressible(
            f'"{line}": Kubernetes runs it when the date or the weekday matches, cron when both do; '
            "name the days by number in one of the fields and write * in the other"
        )
    return " ".join(told)


def after_changes(line: str, zone: ZoneInfo, now: datetime) -> tuple[str, ...]:
    """Lines that start what Kubernetes skips when an hour is missing: on other days they find it done."""
    moved = [tick.astimezone(zone) for tick in lost(line, zone, now, matches)]
    times: dict[tuple[int, int, int], set[int]] = {}
    for local in moved:
        times.setdefault((local.minute, local.hour, local.month), set()).add(local.day)
    return tuple(
        f"{minute} {hour} {ranges(range(min(days), max(days) + 1), '-')} {month} *"
        for (minute, hour, month), days in sorted(times.items())
    )


def _jobs(
    environment: Environment, timer: Timer, sources: Mapping[str, Environment], now: datetime
) -> Iterator[CronJob]:
    wanted = secrets(environment, timer, sources)
    kept = tuple(SecretFile(".".join(secret.file.parts[1:]), str(secret.file)) for secret in wanted if secret.file)
    keys = (*variables(wanted), *(file.key for file in kept))
    seconds = int(limit(environment, timer).total_seconds())
    late = int(period(timer.line, environment.timezone, now).total_seconds())
    yield CronJob(name(timer.unit), timer, fields(timer.line), words(timer.line), seconds, min(late, A_DAY), keys, kept)
    for number, line in enumerate(after_changes(timer.line, environment.timezone, now), start=1):
        unit, why = f"{timer.unit}-clocks-{number}", "for the missing hour, which Kubernetes skips"
        yield CronJob(name(unit), timer, line, why, seconds, AN_HOUR, keys, kept)


def name(unit: str) -> str:
    """A name that Kubernetes takes: lower case, short, and different for different units."""
    told = unit.lower().replace("_", "-").replace(".", "-")
    if told == unit and len(told) <= LONGEST_NAME:
        return told
    return f"{told[: LONGEST_NAME - 9]}-{sha256(unit.encode()).hexdigest()[:8]}"
