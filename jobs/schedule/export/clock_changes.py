"""The ticks that a target would lose when clocks change, and when to start them instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jobs.run.ticks import next_ticks

YEARS = 28  # after so many the days of the week fall on the same dates again
AROUND = timedelta(hours=3)
A_DAY = timedelta(days=1)

Fires = Callable[[CronSim, datetime], bool]


def matches(fields: CronSim, local: datetime) -> bool:
    """Whether a clock on the wall that shows this moment shows a tick."""
    return (
        local.minute in fields.minutes
        and local.hour in fields.hours
        and local.month in fields.months
        and fields.match_day(local.date())
    )


def skipped_ticks(line: str, zone: ZoneInfo, start: datetime, fires: Fires) -> list[datetime]:
    """The ticks around the clock changes of the coming years at which a target does not fire."""
    fields = CronSim(line, start)
    around = [tick for change in clock_changes(zone, start) for tick in _around(line, zone, change)]
    return [tick for tick in around if not fires(fields, tick.astimezone(zone))]


def _around(line: str, zone: ZoneInfo, change: datetime) -> Iterator[datetime]:
    return takewhile(lambda tick: tick < change + AROUND, next_ticks(line, zone, change - AROUND))


@lru_cache
def clock_changes(zone: ZoneInfo, start: datetime) -> tuple[datetime, ...]:
    """When the clocks of a zone change, over the coming years."""
    days = [start.astimezone(UTC) + n * A_DAY for n in range(YEARS * 366)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return tuple(_exactly(zone, days[n]) for n in range(len(days) - 1) if offsets[n] != offsets[n + 1])


def _exactly(zone: ZoneInfo, day: datetime) -> datetime:
    """The first minute after the change that comes within a day."""
    before, after = day.replace(second=0, microsecond=0), day.replace(second=0, microsecond=0) + A_DAY
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) // 2
        middle -= timedelta(seconds=middle.second, microseconds=middle.microsecond)
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after


def utc_offsets(zone: ZoneInfo, start: datetime) -> set[timedelta]:
    """How far the zone is from UTC, in all the coming years."""
    moments = [start, *clock_changes(zone, start)]
    return {moment.astimezone(zone).utcoffset() or timedelta() for moment in moments}
