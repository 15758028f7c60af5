"""Choose the set to restore: the newest, a named one, or the last before a given time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from jobs.backup.errors import BackupError
from jobs.backup.sets.sets import Set, is_dated_ahead
from jobs.format import and_more, format_size
from jobs.run.job import UnknownName

_SHOWN = 3
_COMPARED = 10  # sets before the chosen one
_MUCH_SMALLER = 0.5


def parse_time(text: str, zone: ZoneInfo, now: datetime, option: str = "--before") -> datetime:
    """Parse `2026-11-20`, `02:00` (its latest occurrence) or an ISO time; `zone` is the default time zone."""
    try:
        clock = time.fromisoformat(text)
    except ValueError:
        return _parse_date(text, zone, option)
    if clock.tzinfo is not None or ":" not in text:
        return _parse_date(text, zone, option)
    local_now = now.astimezone(zone)
    at = datetime.combine(local_now.date(), clock, zone)
    return at if at <= local_now else datetime.combine(local_now.date() - timedelta(days=1), clock, zone)


def _parse_date(text: str, zone: ZoneInfo, option: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UnknownName(
            f"{option} {text}: this is not a time; write 2026-11-20, 02:00 or 2026-11-20T02:00+01:00"
        ) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def choose_set(
    sets: Iterable[Set],
    database: str,
    set_id: str | None = None,
    before: datetime | None = None,
    *,
    now: datetime | None = None,
    any_complete: bool = False,
) -> Set:
    """Return the named complete set, or the newest one (before a time) that can be used, see why_unusable()."""
    complete = sorted((each for each in sets if each.complete), key=lambda each: each.sort_key)
    if not complete:
        raise (UnknownName if set_id is not None else BackupError)(
            f"{database} has no complete backup set; take one (crew run backup), "
            "or see which databases have sets: crew backups list"
        )
    if set_id is not None:
        found = find_by_id(complete, database, set_id)
        if found is None:
            newest = complete[-1]
            see = f"See all: crew backups list {newest.environment} {database}"
            raise UnknownName(f"{database} has no complete set {set_id}; its newest is {newest.id}. {see}")
        return found
    candidates = [each for each in complete if before is None or each.started <= before]
    if not candidates:
        oldest = complete[0].id
        raise BackupError(f"{database} has no set from before {before:%Y-%m-%d %H:%M %Z}; its oldest is {oldest}")
    for each in reversed(candidates):
        if any_complete or why_unusable(each, now) is None:
            return each
    newest = candidates[-1]
    option = "--set" if newest.untrusted is None else "--trust-unsigned"
    reason = why_unusable(newest, now)
    raise BackupError(f"{database}: no set can be used; {reason}; to use it anyway: {option} {newest.id}")


def chosen_and_older(sets: Iterable[Set], chosen: Set, now: datetime) -> Iterator[Set]:
    """Yield the chosen set, then the older ones that can be used, newest first."""
    yield chosen
    for each in sorted(sets, key=lambda each: each.sort_key, reverse=True):
        if each.complete and each.sort_key < chosen.sort_key and why_unusable(each, now) is None:
            yield each


def why_unusable(backup_set: Set, now: datetime | None = None) -> str | None:
    """Return why a set is used only if it is named: untrusted, failed or dated in the future; None if it is not."""
    if now is not None and is_dated_ahead(backup_set, now):
        return f"set {backup_set.id} is dated in the future"
    if backup_set.untrusted is not None:
        return f"set {backup_set.id} is not trusted: {backup_set.untrusted}"
    if backup_set.has_failed:
        return f"set {backup_set.id} failed its last verification ({backup_set.failed_verification:%Y-%m-%d %H:%M} UTC)"
    return None


def warnings_on_choice(
    sets: Iterable[Set],
    chosen: Set,
    set_id: str | None = None,
    before: datetime | None = None,
    *,
    now: datetime | None = None,
) -> list[str]:
    """Return what to know about a choice: newer sets that cannot be used, or why the named set cannot be trusted.

    Also a set that is much smaller than an earlier one: a job may have backed up a database that was empty already.
    """
    if set_id is not None:
        return [reason] if (reason := why_unusable(chosen, now)) else []
    ordered = sorted(sets, key=lambda each: each.sort_key, reverse=True)
    newer = [
        each
        for each in ordered
        if each.complete and each.sort_key > chosen.sort_key and (before is None or each.started <= before)
    ]
    reasons = [reason for each in newer if (reason := why_unusable(each, now))]
    instead = [f"set {chosen.id} is used instead of a newer one: {and_more(reasons, _SHOWN)}"] if reasons else []
    return [*instead, *_warnings_on_size(ordered, chosen, now)]


def _warnings_on_size(newest_first: Iterable[Set], chosen: Set, now: datetime | None) -> Iterator[str]:
    """Yield a warning if the newest sets before the chosen one include one that is much larger."""
    older = (
        each
        for each in newest_first
        if each.complete and each.sort_key < chosen.sort_key and why_unusable(each, now) is None
    )
    larger = [each for each in islice(older, _COMPARED) if each.size * _MUCH_SMALLER > chosen.size]
    if larger:
        yield (
            f"set {chosen.id} has {format_size(chosen.size)}, and set {larger[0].id} before it has "
            f"{format_size(larger[0].size)}: rows may have been lost between them; to use the larger one, add "
            f"--set {larger[0].id}"
        )


def find_by_id(sets: Iterable[Set], database: str, set_id: str) -> Set | None:
    """Return the set with this ID, or whose ID ends with it; UnknownName if there are several."""
    matching = [each for each in sets if each.id == set_id or each.id.endswith(f"-{set_id}")]
    if len(matching) > 1:
        ids = ", ".join(each.id for each in matching)
        raise UnknownName(f"{database} has {len(matching)} sets whose ID ends with {set_id} ({ids}); use a full ID")
    return matching[0] if matching else None
