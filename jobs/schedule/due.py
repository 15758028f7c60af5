"""What is due, what is overdue, what comes next: values in, values out."""

from __future__ import annotations

from collections.abc import Iterable
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
    """A tick that nobody has run yet, and the ticks before it that nobody will."""

    slot: Slot
    tick: datetime
    gap: Gap | None


def due(slot: Slot, zone: ZoneInfo, last: datetime, now: datetime) -> Due | None:
    """The newest tick after the last run, if its time has come: one run makes up for all that were missed."""
    if now < first_tick_after(slot.line, zone, last):
        return None
    tick = tick_before(slot.line, zone, now)
    return Due(slot, tick, missed_ticks(slot.line, zone, last, tick))


@lru_cache(maxsize=1000)
def first_tick_after(line: str, zone: ZoneInfo, last: datetime) -> datetime:
    """The tick after a run; kept, for the daemon asks with every beat."""
    return next(next_ticks(line, zone, last))


def last_run(moments: Iterable[datetime], now: datetime) -> datetime | None:
    """The newest run that is not of the future: a clock that was wrong for a while must not stop the schedule."""
    return max((moment for moment in moments if moment <= now + EARLY), default=None)


def overdue(slot: Slot, zone: ZoneInfo, last: datetime | None, now: datetime) -> datetime | None:
    """The tick that should have run by now and did not."""
    found = due(slot, zone, last, now) if last else None
    return found.tick if found and now - found.tick > OVERDUE_AFTER else None


def upcoming(slot: Slot, zone: ZoneInfo, now: datetime, count: int = 3) -> tuple[datetime, ...]:
    """The next runs, in the environment's timezone."""
    return tuple(tick.astimezone(zone) for tick in islice(next_ticks(slot.line, zone, now), count))


def describe_line(line: str) -> str:
    """A cron line as a person would say it."""
    return CronSim(line, datetime.now(UTC)).explain()
