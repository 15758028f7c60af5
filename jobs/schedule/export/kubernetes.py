"""The schedule as CronJobs, and the service account they run as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.run.ticks import period
from jobs.schedule.due import describe_line
from jobs.schedule.export import UnsupportedSchedule
from jobs.schedule.export.clock_changes import matches, skipped_ticks
from jobs.schedule.export.destination import Destination
from jobs.schedule.export.fields import portable_fields, ranges
from jobs.schedule.export.files import File, render
from jobs.schedule.export.needs import DATABASE_CLIENTS, credential_names, run_timeout, secrets_of
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
        raise UnsupportedSchedule(
            f"{environment.store.url}: a directory is on one machine, and pods come and go; use an S3 store"
        )
    tables = {**environment.databases, **environment.servers}
    for database in (each for timer in timers if timer.job in DATABASE_CLIENTS for each in timer.names):
        via = tables[database].via
        if via and via.kubernetes:
            raise UnsupportedSchedule(
                f"{database}: kubectl's way to {via.kubernetes} is closed to a pod, which has no token; "
                "write the url that it has inside the cluster, without via"
            )


def kubernetes_fields(line: str) -> str:
    """The line as Kubernetes reads it."""
    told = portable_fields(line)
    dates, weekdays = told[2], told[4]
    if "*" not in (dates, weekdays) and "*" in dates + weekdays:
        raise UnsupportedSchedule(
            f'"{line}": Kubernetes runs it when the date or the weekday matches, cron when both do; '
            "name the days by number in one of the fields and write * in the other"
        )
    return " ".join(told)


def clock_change_lines(line: str, zone: ZoneInfo, now: datetime) -> tuple[str, ...]:
    """Lines that start what Kubernetes skips when an hour is missing: on other days they find it done."""
    moved = [tick.astimezone(zone) for tick in skipped_ticks(line, zone, now, matches)]
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
    wanted = secrets_of(environment, timer, sources)
    kept = tuple(SecretFile(".".join(secret.file.parts[1:]), str(secret.file)) for secret in wanted if secret.file)
    keys = (*credential_names(wanted), *(file.key for file in kept))
    seconds = int(run_timeout(environment, timer).total_seconds())
    late = int(period(timer.line, environment.timezone, now).total_seconds())
    yield CronJob(
        resource_name(timer.unit),
        timer,
        kubernetes_fields(timer.line),
        describe_line(timer.line),
        seconds,
        min(late, A_DAY),
        keys,
        kept,
    )
    for number, line in enumerate(clock_change_lines(timer.line, environment.timezone, now), start=1):
        unit, why = f"{timer.unit}-clocks-{number}", "for the missing hour, which Kubernetes skips"
        yield CronJob(resource_name(unit), timer, line, why, seconds, AN_HOUR, keys, kept)


def resource_name(unit: str) -> str:
    """A name that Kubernetes takes: lower case, short, and different for different units."""
    told = unit.lower().replace("_", "-").replace(".", "-")
    if told == unit and len(told) <= LONGEST_NAME:
        return told
    return f"{told[: LONGEST_NAME - 9]}-{sha256(unit.encode()).hexdigest()[:8]}"
