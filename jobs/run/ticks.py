"""Scheduled times (ticks) of a cron line. Pure; cronsim handles clock changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

EARLY = timedelta(seconds=90)
MOST_MISSED = 1000


@dataclass(frozen=True, slots=True)
class Gap:
    """Ticks without a run."""

    ticks: int
    first: datetime
    last: datetime


def latest_tick(line: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the tick of a run that starts now. A scheduler's clock can be a little early, and a run can be late."""
    before, after = tick_before(line, zone, now), next(next_ticks(line, zone, now))
    early = min(EARLY, (after - before) / 2)  # if ticks are one minute apart, choose the nearest
    return after if after - now <= early else before


def tick_before(line: str, zone: ZoneInfo, at: datetime) -> datetime:
    """Return the newest tick that is not later than `at`."""
    just_after = at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    before = next(CronSim(line, just_after.astimezone(zone), reverse=True)).astimezone(UTC)
    for tick in next_ticks(line, zone, before):  # in a repeated hour, cronsim looks back from its first occurrence
        if tick > at:
            break
        before = tick
    return before


def next_ticks(line: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield all ticks later than `after`, soonest first."""
    for local in CronSim(line, after.astimezone(zone)):
        tick = local.astimezone(UTC)
        if tick > after:  # cronsim repeats times in a repeated hour, and when it moves two ticks out of a missing one
            after = tick
            yield tick


def period(line: str, zone: ZoneInfo, at: datetime) -> timedelta:
    """Return the time between the ticks before and after `at`."""
    return next(next_ticks(line, zone, at)) - tick_before(line, zone, at)


def missed_ticks(line: str, zone: ZoneInfo, last: datetime | None, tick: datetime) -> Gap | None:
    """Return the ticks between the last one with a record and this one, whose run makes up for all of them."""
    if last is None:
        return None
    between = list(takewhile(lambda t: t < tick, islice(next_ticks(line, zone, last), MOST_MISSED)))
    return Gap(len(between), between[0], between[-1]) if between else None
