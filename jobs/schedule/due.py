"""Which slots are due or overdue, and their next ticks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jobs.run.ticks import EARLY, Gap, missed_ticks, next_ticks, tick_before
from jobs.schedule.slots import Slot

OVERDUE_AFTER = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Due:
    """A tick that has no run yet, and the missed ticks before it, which stay without a run."""

    slot: Slot
    tick: datetime
    gap: Gap | None


def due(slot: Slot, zone: ZoneInfo, last: datetime, now: datetime) -> Due | None:
    """Return the newest tick after the last run, if its time has come: one run covers all missed ticks."""
    if now < first_tick_after(slot.line, zone, last):
        return None
    tick = tick_before(slot.line, zone, now)
    return Due(slot, tick, missed_ticks(slot.line, zone, last, tick))


@lru_cache(maxsize=1000)
def first_tick_after(line: str, zone: ZoneInfo, last: datetime) -> datetime:
    """Return the first tick after a run; cached, because the daemon needs it in every cycle."""
    return next(next_ticks(line, zone, last))


def last_run(times: Iterable[datetime], now: datetime) -> datetime | None:
    """Return the newest run that is not in the future: a clock that was once wrong must not stop the schedule."""
    return max((time for time in times if time <= now + EARLY), default=None)


def last_complete_run(
    by_subject: Mapping[str, Iterable[datetime]], line: str, zone: ZoneInfo, now: datetime
) -> datetime | None:
    """Return the newest run of a slot that no subject lacks. A slot of a server has its databases as subjects.

    A subject counts if it ran at the last tick or at the one before. So a database that was dropped since is no
    reason to run again and again.
    """
    times = sorted(time for of_subject in by_subject.values() for time in of_subject if time <= now + EARLY)
    if not times:
        return None
    newest_tick = tick_before(line, zone, times[-1])
    earlier = [time for time in times if time < newest_tick]
    counts_since = tick_before(line, zone, earlier[-1]) if earlier else newest_tick
    newest = [last_run(of_subject, now) for of_subject in by_subject.values()]
    lacking = [time for time in newest if time and counts_since <= time < newest_tick]
    return min(lacking, default=times[-1])


def overdue(slot: Slot, zone: ZoneInfo, last: datetime | None, now: datetime) -> datetime | None:
    """Return the tick that should have run by now, if it has not."""
    pending = due(slot, zone, last, now) if last else None
    return pending.tick if pending and now - pending.tick > OVERDUE_AFTER else None


def upcoming(slot: Slot, zone: ZoneInfo, now: datetime, count: int = 3) -> tuple[datetime, ...]:
    """Return the next ticks in the environment's timezone."""
    return tuple(tick.astimezone(zone) for tick in islice(next_ticks(slot.line, zone, now), count))


def describe_line(line: str) -> str:
    """Return a cron line in words, for example "At 02:00 every day"."""
    return CronSim(line, datetime.now(UTC)).explain()
