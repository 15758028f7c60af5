"""When a cron line is due. Pure; cronsim knows about clock changes, and `now` says when it is."""

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
    """Ticks that nobody ran."""

    ticks: int
    first: datetime
    last: datetime


def latest_tick(line: str, zone: ZoneInfo, now: datetime) -> datetime:
    """The tick that a run started now belongs to: a clock may be a little early, a run late by any time."""
    before, after = tick_before(line, zone, now), next(next_ticks(line, zone, now))
    early = min(EARLY, (after - before) / 2)  # of ticks a minute apart, the nearest one is meant
    return after if after - now <= early else before


def tick_before(line: str, zone: ZoneInfo, at: datetime) -> datetime:
    """The newest tick that is not later than a moment."""
    just_after = at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    before = next(CronSim(line, just_after.astimezone(zone), reverse=True)).astimezone(UTC)
    for tick in next_ticks(line, zone, before):  # in an hour that comes twice, cronsim looks back from its first coming
        if tick > at:
            break
        before = tick
    return before


def next_ticks(line: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """All ticks later than a moment, soonest first."""
    for found in CronSim(line, after.astimezone(zone)):
        tick = found.astimezone(UTC)
        if tick > after:  # not so in an hour that comes twice, nor for two ticks moved out of a missing hour
            after = tick
            yield tick


def period(line: str, zone: ZoneInfo, at: datetime) -> timedelta:
    """How long it is from the tick before a moment to the tick after it."""
    return next(next_ticks(line, zone, at)) - tick_before(line, zone, at)


def missed_ticks(line: str, zone: ZoneInfo, last: datetime | None, tick: datetime) -> Gap | None:
    """The ticks between the last one that has a record and this one, which makes up for all of them."""
    if last is None:
        return None
    between = list(takewhile(lambda t: t < tick, islice(next_ticks(line, zone, last), MOST_MISSED)))
    return Gap(len(between), between[0], between[-1]) if between else None
