"""Which set a restore takes: the newest, a named one, or the last one before a moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from jobs.backup.errors import BackupError
from jobs.backup.sets.sets import Set
from jobs.run.job import UnknownName


def moment(said: str, zone: ZoneInfo, now: datetime) -> datetime:
    """`2026-11-20`, `02:00` (the last time that it was two), or ISO; in the environment's time where none is named."""
    try:
        clock = time.fromisoformat(said)
    except ValueError:
        return _date(said, zone)
    if clock.tzinfo is not None or ":" not in said:
        return _date(said, zone)
    today = now.astimezone(zone)
    at = datetime.combine(today.date(), clock, zone)
    return at if at <= today else datetime.combine(today.date() - timedelta(days=1), clock, zone)


def _date(said: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(said)
    except ValueError:
        raise UnknownName(f"--before {said}: no time; write 2026-11-20, 02:00, or 2026-11-20T02:00+01:00") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def chosen(sets: Iterable[Set], database: str, set_id: str | None = None, before: datetime | None = None) -> Set:
    """The one complete set that was asked for."""
    complete = sorted((one for one in sets if one.complete), key=lambda one: one.order)
    if not complete:
        raise BackupError(
            f"{database} has no complete backup set; take one, or see which databases have any: crew backups list"
        )
    if set_id is not None:
        return _named(complete, database, set_id)
    early = [one for one in complete if before is None or one.started <= before]
    if not early:
        oldest = complete[0].id
        raise BackupError(f"{database} has no set from before {before:%Y-%m-%d %H:%M %Z}; its oldest is {oldest}")
    return early[-1]


def _named(complete: list[Set], database: str, set_id: str) -> Set:
    fitting = [one for one in complete if one.id == set_id or one.id.endswith(f"-{set_id}")]
    if len(fitting) != 1:
        raise BackupError(
            f"{database} has no complete set {set_id}; its newest is {complete[-1].id}: crew backups list"
        )
    return fitting[0]
