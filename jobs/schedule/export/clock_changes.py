"""The ticks that a scheduler skips when clocks change, and the times at which to start them instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim

from jobs.run.ticks import next_ticks

YEARS = 28  # after 28 years, weekdays fall on the same dates again
AROUND = timedelta(hours=3)
A_DAY = timedelta(days=1)

Fires = Callable[[CronSim, datetime], bool]


def matches(fields: CronSim, local: datetime) -> bool:
    """Whether the cron fields match a local time."""
    return (
        local.minute in fields.minutes
        and local.hour in fields.hours
        and local.month in fields.months
        and fields.match_day(local.date())
    )


def skipped_ticks(line: str, zone: ZoneInfo, start: datetime, fires: Fires) -> list[datetime]:
    """Return the ticks around the clock changes of the coming years at which a scheduler does not fire."""
    fields = CronSim(line, start)
    around = [tick for change in clock_changes(zone, start) for tick in _ticks_around(line, zone, change)]
    return [tick for tick in around if not fires(fields, tick.astimezone(zone))]


def _ticks_around(line: str, zone: ZoneInfo, change: datetime) -> Iterator[datetime]:
    return takewhile(lambda tick: tick < change + AROUND, next_ticks(line, zone, change - AROUND))


@lru_cache
def clock_changes(zone: ZoneInfo, start: datetime) -> tuple[datetime, ...]:
    """Return the times at which the zone's UTC offset changes in the coming years."""
    days = [start.astimezone(UTC) + n * A_DAY for n in range(YEARS * 366)]
    offsets = [day.astimezone(zone).utcoffset() for day in days]
    return tuple(_change_within(zone, days[n]) for n in range(len(days) - 1) if offsets[n] != offsets[n + 1])


def _change_within(zone: ZoneInfo, day: datetime) -> datetime:
    """Return the first minute after the clock change that happens within 24 hours."""
    before, after = day.replace(second=0, microsecond=0), day.replace(second=0, microsecond=0) + A_DAY
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) // 2
        middle -= timedelta(seconds=middle.second, microseconds=middle.microsecond)
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after


def utc_offsets(zone: ZoneInfo, start: datetime) -> set[timedelta]:
    """Return every UTC offset of the zone in the coming years."""
    times = [start, *clock_changes(zone, start)]
    return {time.astimezone(zone).utcoffset() or timedelta() for time in times}
