"""In a year with both clock changes, each tick occurs once, and tick_before() finds it from any later time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest

from jobs.run.ticks import latest_tick, next_ticks, tick_before

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
START, END = datetime(2026, 12, 31, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC)
CHANGES = {
    BERLIN: (datetime(2027, 3, 28, 1, tzinfo=UTC), datetime(2027, 10, 31, 1, tzinfo=UTC)),
    NEW_YORK: (datetime(2027, 3, 14, 7, tzinfo=UTC), datetime(2027, 11, 7, 6, tzinfo=UTC)),
}
LINES = (
    "30 2 * * *",
    "0,30 2 * * *",
    "15 1 * * *",
    "0 3 * * *",
    "0 * * * *",
    "*/15 * * * *",
    "30 1-3 * * *",
    "0 */2 * * 0",
)


def ticks(line: str, zone: ZoneInfo, start: datetime = START, end: datetime = END) -> list[datetime]:
    return list(takewhile(lambda tick: tick <= end, next_ticks(line, zone, start)))


@pytest.mark.parametrize("zone", CHANGES, ids=str)
def test_an_hourly_schedule_has_every_hour_of_the_year_once(zone: ZoneInfo) -> None:
    assert ticks("0 * * * *", zone) == [START + timedelta(hours=n) for n in range(1, 365 * 24 + 1)]


@pytest.mark.parametrize("zone", CHANGES, ids=str)
@pytest.mark.parametrize("line", ["30 2 * * *", "30 1 * * *", "0 0 * * *", "0 12 * * *"])
def test_a_daily_schedule_has_every_day_of_the_year_once(zone: ZoneInfo, line: str) -> None:
    days = [tick.astimezone(zone).date() for tick in ticks(line, zone)]
    assert days == sorted(set(days))
    assert len(days) == 365


def test_a_tick_in_the_missing_hour_moves_and_one_in_the_repeated_hour_is_in_the_first() -> None:
    spring, autumn = CHANGES[BERLIN]
    assert ticks("30 2 * * *", BERLIN, spring - timedelta(hours=2), spring + timedelta(hours=2)) == [spring]
    assert ticks("0,30 2 * * *", BERLIN, spring - timedelta(hours=2), spring + timedelta(hours=2)) == [spring]
    assert ticks("30 2 * * *", BERLIN, autumn - timedelta(hours=2), autumn + timedelta(hours=2)) == [
        autumn - timedelta(minutes=30)
    ]


@pytest.mark.parametrize("zone", CHANGES, ids=str)
@pytest.mark.parametrize("line", LINES)
def test_tick_before_returns_the_newest_earlier_tick(zone: ZoneInfo, line: str) -> None:
    for change in CHANGES[zone]:
        first, last = change - timedelta(hours=4), change + timedelta(hours=4)
        known = ticks(line, zone, change - timedelta(days=8), last)
        for minutes in range(0, 8 * 60, 10):
            moment = first + timedelta(minutes=minutes, seconds=1)
            assert tick_before(line, zone, moment) == max(tick for tick in known if tick <= moment)


@pytest.mark.parametrize("zone", CHANGES, ids=str)
@pytest.mark.parametrize("line", ["0 * * * *", "30 2 * * *"])
def test_a_run_that_starts_a_second_early_or_minutes_late_belongs_to_its_tick(zone: ZoneInfo, line: str) -> None:
    around = [
        tick
        for change in CHANGES[zone]
        for tick in ticks(line, zone, change - timedelta(days=1), change + timedelta(days=2))
    ]
    for tick in around:
        for late in (-1, 0, 1, 59, 1500):
            assert latest_tick(line, zone, tick + timedelta(seconds=late)) == tick
