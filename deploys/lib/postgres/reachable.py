"""Decide which moments pgBackRest's repositories can restore, and with which command."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

HISTORY = re.compile(r"[0-9A-F]{8}\.history")
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
POINT = re.compile(r"[\w.:-]{1,63}")
FORMS = (
    'write a time such as to="2026-11-29 14:03:10", latest, a backup such as 20261129-030000F, point:NAME for a '
    "restore point or xid:NUMBER for a transaction; to=? shows what can be restored"
)
BACKUPS_SHOWN = 10
NO_BACKUP = 2  # a status code of pgBackRest


@dataclass(frozen=True)
class Target:
    """What to restore: everything ("latest"), the state at a time, a restore point, a transaction or a backup."""

    kind: str  # "time", "latest", "name", "xid", "backup"
    value: str = ""  # as pgBackRest reads it
    moment: datetime | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, [self.kind, self.value]))


@dataclass(frozen=True)
class PhysicalBackup:
    """A backup in a repository."""

    repository: int
    label: str
    kind: str
    stop: datetime
    size: int  # bytes that it needs when restored


@dataclass(frozen=True)
class Reachable:
    """What the repositories have of a stanza."""

    version: str
    systems: frozenset[str]  # identifiers of the servers that archived
    backups: tuple[PhysicalBackup, ...]
    newest_wal: Mapping[int, tuple[str, str]]  # the identifier of the archive and its last segment, by repository
    timelines: Mapping[int, datetime] = field(default_factory=dict)  # when each but the first arrived in the archive


def parse_target(text: str) -> Target:
    """Return what a person asked for; raise ValueError if it has none of the known forms. Times are in UTC."""
    prefix, _, rest = text.partition(":")
    if text == "latest":
        return Target("latest")
    if LABEL.fullmatch(text):
        return Target("backup", text)
    if prefix == "point" and POINT.fullmatch(rest):
        return Target("name", rest)
    if prefix == "xid" and rest.isascii() and rest.isdigit():
        return Target("xid", rest)
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"to: {text!r} is not known; {FORMS}") from None
    moment = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    return Target("time", f"{moment:%Y-%m-%d %H:%M:%S.%f}+00", moment)


def parse_info(stanza: Mapping[str, Any]) -> Reachable:
    """Return what an entry of `pgbackrest info --output=json` says."""
    databases: Sequence[Mapping[str, Any]] = stanza.get("db", ())
    archives = [each for each in stanza.get("archive", ()) if each.get("max")]
    return Reachable(
        version=str(databases[-1]["version"]) if databases else "",
        systems=frozenset(str(each["system-id"]) for each in databases),
        backups=tuple(
            PhysicalBackup(
                each["database"]["repo-key"],
                each["label"],
                each["type"],
                datetime.fromtimestamp(each["timestamp"]["stop"], UTC),
                each["info"]["size"],
            )
            for each in stanza.get("backup", ())
            if not each.get("error")
        ),
        newest_wal={each["database"]["repo-key"]: (each["id"], each["max"]) for each in archives},
    )


def unreadable_repositories(stanza: Mapping[str, Any]) -> list[str]:
    """Return a line for each repository that `pgbackrest info` could not read; one without a backup yet is fine."""
    return [
        f"repository {each['key']}: {each['status']['message']}"
        for each in stanza["repo"]
        if each["status"]["code"] not in (0, NO_BACKUP)
    ]


def parse_timelines(listing: Mapping[str, Any]) -> dict[int, datetime]:
    """Return when each timeline but the first arrived, from `pgbackrest repo-ls --output=json` of an archive."""
    return {
        int(name[:8], 16): datetime.fromtimestamp(each["time"], UTC)
        for name, each in listing.items()
        if HISTORY.fullmatch(name) and "time" in each
    }


def timeline_at(target: Target, timelines: Mapping[int, datetime]) -> str:
    """Return the timeline that was current at a time; "" if that is the newest one.

    A restore or a promotion begins a timeline. Without this, a time after the moment that was restored then, and before
    the restore, would be looked for on the new timeline, which does not have it.
    """
    began_later = [number for number, began in timelines.items() if target.moment and began > target.moment]
    return str(min(began_later) - 1) if began_later else ""


def reachable_lines(reachable: Reachable, until: Mapping[int, datetime]) -> Iterator[str]:
    """Yield the reachable span of each repository, and its backups, newest first."""
    for repository in sorted({each.repository for each in reachable.backups}):
        backups = [each for each in reachable.backups if each.repository == repository]
        first, last = min(each.stop for each in backups), until.get(repository)
        end = f"{last:%Y-%m-%d %H:%M:%S} UTC, when its newest WAL arrived" if last else "its last backup"
        yield f"repository {repository}: from {first:%Y-%m-%d %H:%M:%S} UTC to {end}"
        newest = sorted(backups, key=lambda each: each.stop, reverse=True)
        yield from (
            f"    {each.label}  {each.kind}  {each.stop:%Y-%m-%d %H:%M:%S} UTC" for each in newest[:BACKUPS_SHOWN]
        )
        if len(newest) > BACKUPS_SHOWN:
            yield f"    and {len(newest) - BACKUPS_SHOWN} older ones"
    for number, began in sorted(reachable.timelines.items()):
        yield f"timeline {number}: from {began:%Y-%m-%d %H:%M:%S} UTC, after a restore or a promotion"


def target_faults(target: Target, reachable: Reachable, version: int, now: datetime, backup: str = "") -> Iterator[str]:
    """Yield each reason why the target can't be restored, from this backup, on a host with this major version."""
    if not reachable.backups:
        yield "the repositories have no backup of this stanza"
        return
    if reachable.version != str(version):
        yield (
            f"the backups are of PostgreSQL {reachable.version}, and this host has {version}; "
            "use a host whose system has that version"
        )
    first = min(each.stop for each in reachable.backups)
    if target.moment and target.moment < first:
        yield f"{target.value} is before the end of the oldest backup, {first:%Y-%m-%d %H:%M:%S} UTC"
    if target.moment and target.moment > now:
        yield f"{target.value} is in the future; it is {now:%Y-%m-%d %H:%M:%S} UTC"
    stops = {each.label: each.stop for each in reachable.backups}
    named = backup or (target.value if target.kind == "backup" else "")
    if named and named not in stops:
        yield f"there is no backup {named}"
    elif backup and target.moment and stops[backup] > target.moment:
        yield f"backup {backup} ended after {target.value}; name an earlier one"


def needed_bytes(target: Target, reachable: Reachable, backup: str = "") -> int:
    """Return the size of the backup that the target is restored from; 0 if there is none."""
    fitting = [each for each in reachable.backups if not target.moment or each.stop <= target.moment]
    named = [each for each in fitting if each.label in (backup, target.value)]
    return max(((each.stop, each.size) for each in named or fitting), default=(None, 0))[1]


def restore_options(target: Target, backup: str, timeline: str) -> list[str]:
    """Return the options of `pgbackrest restore`. PostgreSQL opens the cluster for writing when it is there."""
    to = {
        "latest": ["--type=default"],
        "backup": ["--type=immediate", f"--set={target.value}", "--target-action=promote"],
    }
    chosen = to.get(target.kind) or [f"--type={target.kind}", f"--target={target.value}", "--target-action=promote"]
    return [*chosen, *([f"--set={backup}"] if backup else []), *([f"--target-timeline={timeline}"] if timeline else [])]
