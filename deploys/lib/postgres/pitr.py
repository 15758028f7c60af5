"""Decide how pgBackRest archives a PostgreSQL server, from the group data `postgres_pitr`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice, pairwise
from typing import Any

from cronsim import CronSim, CronSimError

from deploys.lib import passwords
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER
from deploys.lib.preflight import DeployError
from inventories import Secret

CONFIG = "/etc/pgbackrest/pgbackrest.conf"
PACKAGES = ("pgbackrest", "python3")
STATE = "/var/lib/groundcrew-pitr"  # results of the last backups
PROGRAMS = "/usr/local/lib/groundcrew"
BACKUP_PROGRAM, METRICS_PROGRAM = f"{PROGRAMS}/pitr-backup", f"{PROGRAMS}/pitr-metrics"
LOCK = f"{STATE}/lock"
UNITS = "/etc/systemd/system"
BACKUP_UNIT, METRICS_TIMER = "groundcrew-pitr-backup@.service", "groundcrew-pitr-metrics.timer"
METRICS_FOLDER = "/var/lib/prometheus/node-exporter"
METRICS_FILE = f"{METRICS_FOLDER}/groundcrew-pitr.prom"
TYPES = ("full", "diff", "incr")
MOST_REPOSITORIES = 3
WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
STANZA = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
SIZE = re.compile(r"[1-9]\d*[MGT]iB")
PLAIN_VALUE = re.compile(r"[\w.:/-]+")
OWN_SETTINGS = ("archive_mode", "archive_command", "archive_library", "archive_timeout", "wal_level")
KEYS = ("access_key", "secret_key")
TICKS_COMPARED = 400


@dataclass(frozen=True)
class BackupRepository:
    """A place where pgBackRest keeps backups and WAL."""

    s3: Mapping[str, Any]
    cipher: Any
    keep: Mapping[str, int]


@dataclass(frozen=True)
class Pitr:
    """The point-in-time recovery of a server."""

    stanza: str
    repositories: tuple[BackupRepository, ...]
    schedule: Mapping[str, str]  # a cron line by type of backup
    queue: str  # the most WAL that can wait for the archive, such as "16GiB"

    @classmethod
    def from_group_data(cls, given: Mapping[str, Any], disk: int) -> Pitr:
        """Return the settings of a server whose disk has `disk` MiB; `faults` found none."""
        return cls(
            given["stanza"],
            tuple(BackupRepository(each["s3"], each["cipher"], each["keep"]) for each in given["repositories"]),
            {kind: given[kind] for kind in TYPES if given.get(kind)},
            given.get("queue") or default_queue(disk),
        )


def default_queue(disk: int) -> str:
    """Return at most a quarter of the disk, which has `disk` MiB.

    A power of two stays the same while the size of the disk varies a little, as on ZFS.
    """
    return f"{1 << max((disk // 4 // 1024).bit_length() - 1, 0)}GiB"


def faults(given: Any, settings: Mapping[str, object]) -> Iterator[str]:
    """Yield each fault in `postgres_pitr`, and each key of `postgres_settings` that it sets itself."""
    if not isinstance(given, Mapping):
        yield "postgres_pitr: write a dictionary with stanza, repositories and full"
        return
    yield from unknown_keys("postgres_pitr", given, {"stanza", "repositories", "queue", *TYPES})
    if not STANZA.fullmatch(str(given.get("stanza", ""))):
        yield 'postgres_pitr: stanza: write a name of a-z, 0-9, - and _, such as "main"'
    if given.get("queue") and not SIZE.fullmatch(str(given["queue"])):
        yield f'postgres_pitr: queue: {given["queue"]!r} is not a size; write one such as "16GiB"'
    if not given.get("full"):
        yield 'postgres_pitr: full is missing; write when to make full backups, such as "0 3 * * 0"'
    for kind in TYPES:
        if given.get(kind) and (fault := cron_fault(given[kind])):
            yield f"postgres_pitr: {kind}: {fault}"
    repositories = given.get("repositories")
    if not isinstance(repositories, Sequence) or not 1 <= len(repositories) <= MOST_REPOSITORIES:
        yield f"postgres_pitr: repositories: list one to {MOST_REPOSITORIES}"
        return
    for number, repository in enumerate(repositories, 1):
        yield from _repository_faults(f"postgres_pitr: repository {number}", repository)
    for key in OWN_SETTINGS:
        if key in settings:
            yield f"postgres_settings: {key}: postgres_pitr sets it; remove it"


def _repository_faults(where: str, given: Any) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{where}: write a dictionary with s3, cipher and keep"
        return
    yield from unknown_keys(where, given, {"s3", "cipher", "keep"})
    s3, keep = given.get("s3"), given.get("keep")
    if not isinstance(s3, Mapping):
        yield f"{where}: s3 is missing; write its bucket, region and endpoint"
    else:
        yield from _s3_faults(f"{where}: s3", s3)
    if given.get("cipher") != "none":
        yield from (
            f'{fault}; or "none" for a repository that is not encrypted'
            for fault in passwords.faults(f"{where}: cipher", given.get("cipher"))
        )
    if not isinstance(keep, Mapping) or ("full" in keep) == ("days" in keep):
        yield f'{where}: keep: write {{"full": 4}} for four full backups, or {{"days": 30}} for a window of 30 days'
        return
    yield from unknown_keys(f"{where}: keep", keep, {"full", "days", "diff"})
    for key, value in keep.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            yield f"{where}: keep: {key}: {value!r} is not a number of at least 1"


def _s3_faults(where: str, s3: Mapping[str, Any]) -> Iterator[str]:
    texts, flags = ("bucket", "region", "endpoint", "folder"), ("path_style", "verify_tls")
    yield from unknown_keys(where, s3, {*texts, *flags, *KEYS})
    for key in texts:
        value = s3.get(key)
        if key != "folder" and not value:
            yield f"{where}: {key} is missing"
        elif value is not None and not PLAIN_VALUE.fullmatch(str(value)):
            yield f"{where}: {key}: {value!r} has a character that is not allowed"
    if "://" in str(s3.get("endpoint", "")):
        yield f"{where}: endpoint: write a host without https://, such as s3.eu-central-1.amazonaws.com"
    for key in flags:
        if not isinstance(s3.get(key, True), bool):
            yield f"{where}: {key}: write True or False"
    given_keys = [key for key in KEYS if key in s3]
    if len(given_keys) == 1:
        yield f"{where}: write both access_key and secret_key, or neither if the host has a role for the bucket"
    for key in given_keys:
        yield from passwords.faults(f"{where}: {key}", s3[key])


def shared_stanza_faults(name: str, stanzas: Mapping[str, str]) -> Iterator[str]:
    """Yield a fault if another host of the inventory has the stanza of the host `name`."""
    if others := sorted(other for other, stanza in stanzas.items() if other != name and stanza == stanzas[name]):
        yield (
            f"postgres_pitr: {', '.join(others)} has the stanza {stanzas[name]} too, and two servers can't share one; "
            "set postgres_pitr per host in the inventory"
        )


def config_text(pitr: Pitr, version: int, cpus: int) -> Secret:
    """Return the text of pgBackRest's configuration file. It contains secrets."""
    values: list[tuple[str, str]] = [
        ("archive-async", "y"),
        ("archive-push-queue-max", pitr.queue),
        ("compress-type", "zst"),
        ("log-level-console", "warn"),
        ("log-level-file", "detail"),
        ("process-max", str(min(max(cpus // 2, 1), 8))),
        ("start-fast", "y"),
    ]
    for number, repository in enumerate(pitr.repositories, 1):
        values += [(f"repo{number}-{name}", value) for name, value in _repository_values(number, repository)]
    lines = "".join(f"{name}={value}\n" for name, value in values)
    own = f"pg1-path={data_folder(version)}\npg1-socket-path=/var/run/postgresql\n"
    return Secret(literal=f"{HEADER}[global]\n{lines}\n[{pitr.stanza}]\n{own}")


def _repository_values(number: int, repository: BackupRepository) -> Iterator[tuple[str, str]]:
    s3, keep = repository.s3, repository.keep
    endpoint, _, port = str(s3["endpoint"]).partition(":")
    yield "type", "s3"
    yield "bundle", "y"
    yield "path", f"/{str(s3.get('folder') or '').strip('/')}"
    yield "s3-bucket", s3["bucket"]
    yield "s3-endpoint", endpoint
    yield "s3-region", s3["region"]
    yield "s3-uri-style", "path" if s3.get("path_style") else "host"
    if port:
        yield "storage-port", port
    if s3.get("verify_tls") is False:
        yield "storage-verify-tls", "n"
    if "access_key" in s3:
        where = f"postgres_pitr: repository {number}"
        yield "s3-key", _one_line(f"{where}: access_key", s3["access_key"])
        yield "s3-key-secret", _one_line(f"{where}: secret_key", s3["secret_key"])
    else:
        yield "s3-key-type", "auto"
    if repository.cipher != "none":
        yield "cipher-type", "aes-256-cbc"
        yield "cipher-pass", _one_line(f"postgres_pitr: repository {number}: cipher", repository.cipher)
    yield "retention-full-type", "time" if "days" in keep else "count"
    yield "retention-full", str(keep.get("days") or keep["full"])
    if "diff" in keep:
        yield "retention-diff", str(keep["diff"])


def _one_line(where: str, reference: dict[str, Any]) -> str:
    """Return a secret as a value of the configuration file, which has one line for each."""
    value = passwords.reveal(where, reference).strip()
    if len(value.splitlines()) != 1:
        raise DeployError(f"{where}: the secret has several lines; store it in one")
    return value


def data_folder(version: int) -> str:
    return f"/var/lib/postgresql/{version}/main"


def archive_settings(stanza: str) -> dict[str, str]:
    """Return the settings of PostgreSQL that send each WAL segment to the repositories."""
    return {
        "archive_mode": "on",
        "archive_command": f"pgbackrest --stanza={stanza} archive-push %p",
        "archive_timeout": "60s",
        "wal_level": "replica",
    }


def cron_fault(line: object) -> str:
    """Return why a timer can't follow this cron line, in local time; nothing if it can."""
    try:
        calendar_expression(str(line))
    except (CronSimError, ValueError, AssertionError, TypeError) as error:
        return f'{line!r}: {error}; use five fields, minute hour day month weekday, such as "0 3 * * 0"'
    return ""


def calendar_expression(line: str) -> str:
    """Return a cron line as an expression of systemd; raise ValueError if systemd has no such expression."""
    fields = _ticks(line)
    weekdays = {day % 7 for day in fields.weekdays if isinstance(day, int)}
    if any(not isinstance(day, int) for day in fields.weekdays) or any(day <= 0 for day in fields.days):
        raise ValueError("write plain days and weekdays, without L or #")
    if len(fields.days) < 31 and len(weekdays) < 7:
        raise ValueError("write days or weekdays, not both")
    names = "" if len(weekdays) == 7 else ",".join(WEEKDAYS[day] for day in sorted(weekdays))
    date = f"*-{_numbers(fields.months, 12)}-{_numbers(fields.days, 31)}"
    return f"{names} {date} {_numbers(fields.hours, 24)}:{_numbers(fields.minutes, 60)}:00".strip()


def _ticks(line: str) -> CronSim:
    if len(line.split()) != 5:
        raise ValueError("it does not have five fields")
    return CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))


def _numbers(numbers: set[int], count: int) -> str:
    return "*" if len(numbers) == count else ",".join(f"{number:02}" for number in sorted(numbers))


def longest_gap(schedule: Mapping[str, str]) -> int:
    """Return the longest time between two backups of the schedule, in seconds."""
    ticks = islice(merge(*map(_ticks, schedule.values())), TICKS_COMPARED)
    return max(int((later - earlier).total_seconds()) for earlier, later in pairwise(ticks))


def backup_program(pitr: Pitr) -> str:
    """Return the script that makes a backup in each repository, one after the other, and removes expired ones."""
    repositories = shlex.quote(" ".join(str(number) for number in range(1, len(pitr.repositories) + 1)))
    return f"""#!/bin/sh
{HEADER}# pitr-backup TYPE [OPTION…]: back up to each repository. Then pgBackRest removes what `keep` no longer covers.
# pitr-backup TYPE-NUMBER [OPTION…]: back up to one repository.
set -u; umask 027; failed=0; type=${{1%-*}}; repositories={repositories}
case $1 in *-*) repositories=${{1#*-}} ;; esac
shift
exec 9>{LOCK}; flock 9
for repository in $repositories; do
  pgbackrest --stanza={pitr.stanza} --repo=$repository --type="$type" --log-level-console=info "$@" backup
  result=$?; [ $result = 0 ] || failed=$result
  echo $result > {STATE}/result-$repository.new && mv {STATE}/result-$repository.new {STATE}/result-$repository
  bytes=$(pgbackrest --repo=$repository repo-ls --recurse --output=json | {METRICS_PROGRAM} --sum-sizes) &&
    echo "$bytes" > {STATE}/size-$repository.new && mv {STATE}/size-$repository.new {STATE}/size-$repository
done
exit $failed
"""


def pitr_units(pitr: Pitr, version: int) -> dict[str, str]:
    """Return the text of each systemd unit, by path."""
    server = f"postgresql@{version}-main.service"
    arguments = [pitr.stanza, len(pitr.repositories), data_folder(version), longest_gap(pitr.schedule)]
    metrics = f"{METRICS_PROGRAM} {' '.join(map(str, arguments))}"
    units = {
        BACKUP_UNIT: (
            f"[Unit]\nDescription=pgBackRest backup of stanza {pitr.stanza}: %i\n"
            f"After={server} network-online.target\nWants=network-online.target\n"
            f"[Service]\nType=oneshot\nUser=postgres\nExecStart={BACKUP_PROGRAM} %i\n"
            "NoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=yes\nNice=10\n"
        ),
        METRICS_TIMER: (
            "[Unit]\nDescription=Metrics of point-in-time recovery\n"
            "[Timer]\nOnBootSec=1min\nOnUnitActiveSec=1min\nAccuracySec=5s\n[Install]\nWantedBy=timers.target\n"
        ),
        METRICS_TIMER.replace(".timer", ".service"): (
            "[Unit]\nDescription=Metrics of point-in-time recovery\n"
            # The shell writes as root into the directory; all that reads WAL and repositories runs as postgres.
            f"[Service]\nType=oneshot\nTimeoutStartSec=50s\nNoNewPrivileges=yes\nPrivateTmp=yes\nProtectHome=yes\n"
            f"ExecStart=/bin/sh -c 'runuser --user postgres -- {metrics} > {METRICS_FILE}.new && "
            f"mv {METRICS_FILE}.new {METRICS_FILE}'\n"
        ),
        **{
            f"groundcrew-pitr-{kind}.timer": (
                f"[Unit]\nDescription=pgBackRest backup: {kind}\n[Timer]\nOnCalendar={calendar_expression(line)}\n"
                f"Persistent=true\nUnit={BACKUP_UNIT.replace('@', f'@{kind}')}\n[Install]\nWantedBy=timers.target\n"
            )
            for kind, line in pitr.schedule.items()
        },
    }
    return {f"{UNITS}/{name}": HEADER + text for name, text in units.items()}
