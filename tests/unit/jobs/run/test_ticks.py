"""Scheduled times of cron lines, also at clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.run.ticks import Gap, latest_tick, missed_ticks, next_ticks, period, tick_before

BERLIN = ZoneInfo("Europe/Berlin")
LINES = [
    "0 2 * * *",
    "0 */6 * * *",
    "*/30 * * * *",
    "30 2 * * *",
    "0 4 * * 1",
    "* * * * *",
    "0 9 1 * *",
    "15 2,3 * * 0",
]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("line", "now", "tick"),
    [
        ("0 2 * * *", "2026-05-05T02:00:00+02:00", "2026-05-05T02:00:00+02:00"),
        ("0 2 * * *", "2026-05-05T02:00:04+02:00", "2026-05-05T02:00:00+02:00"),
        ("0 2 * * *", "2026-05-05T01:58:30+02:00", "2026-05-05T02:00:00+02:00"),  # a clock 90 s early
        ("0 2 * * *", "2026-05-05T01:58:29+02:00", "2026-05-04T02:00:00+02:00"),
        ("0 2 * * *", "2026-05-05T07:59:00+02:00", "2026-05-05T02:00:00+02:00"),  # hours late
        ("* * * * *", "2026-05-05T02:00:10+02:00", "2026-05-05T02:00:00+02:00"),  # not the tick 50 s ahead
        ("* * * * *", "2026-05-05T01:59:58+02:00", "2026-05-05T02:00:00+02:00"),
        ("30 2 * * *", "2026-10-25T02:40:00+02:00", "2026-10-25T02:30:00+02:00"),  # the repeated hour, first time
        (
            "30 2 * * *",
            "2026-10-25T02:40:00+01:00",
            "2026-10-25T02:30:00+02:00",
        ),  # the repeated hour, second time: the same tick
        ("30 2 * * *", "2026-03-29T03:00:00+02:00", "2026-03-29T03:00:00+02:00"),  # the missing hour
        ("*/30 * * * *", "2026-10-25T02:59:59+02:00", "2026-10-25T02:00:00+01:00"),
    ],
)
def test_a_run_belongs_to_the_latest_tick_that_is_at_most_90_seconds_ahead(line: str, now: str, tick: str) -> None:
    assert latest_tick(line, BERLIN, at(now)) == at(tick)


TIMES = st.datetimes(datetime(2025, 1, 1), datetime(2030, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))


@given(st.sampled_from(LINES), TIMES)
def test_no_tick_is_between_a_time_and_the_tick_before_or_after_it(line: str, now: datetime) -> None:
    before, after = tick_before(line, BERLIN, now), next(next_ticks(line, BERLIN, now))
    assert before <= now < after
    assert next(next_ticks(line, BERLIN, before)) == after
    assert period(line, BERLIN, now) == after - before


@given(st.sampled_from(LINES), TIMES, st.integers(-30, 25))
def test_runners_whose_clocks_differ_a_little_get_the_same_tick(line: str, now: datetime, off: int) -> None:
    tick = next(next_ticks(line, BERLIN, now))
    assert latest_tick(line, BERLIN, tick + timedelta(seconds=off)) == tick


def test_the_last_second_before_the_clock_goes_back_has_the_tick_before_it() -> None:
    assert tick_before("*/30 * * * *", BERLIN, at("2026-10-25T02:59:59+02:00")) == at("2026-10-25T02:30:00+02:00")


def test_next_ticks_are_in_order() -> None:
    ticks = next_ticks("30 2 * * *", BERLIN, at("2026-03-27T12:00:00+01:00"))
    local = [next(ticks).astimezone(BERLIN).isoformat() for _ in range(3)]
    assert local == ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_the_period_is_the_time_between_two_ticks() -> None:
    assert period("0 */6 * * *", BERLIN, at("2026-05-05T07:00:00+02:00")) == timedelta(hours=6)
    assert period("0 9 * * 1-5", BERLIN, at("2026-05-09T07:00:00+02:00")) == timedelta(days=3)


@pytest.mark.parametrize(
    ("last", "tick", "gap"),
    [
        (None, "2026-05-05T02:00:00+02:00", None),
        ("2026-05-04T02:00:00+02:00", "2026-05-05T02:00:00+02:00", None),
        ("2026-05-03T02:00:00+02:00", "2026-05-05T02:00:00+02:00", (1, "2026-05-04T02:00:00+02:00")),
        ("2026-04-30T02:00:00+02:00", "2026-05-05T02:00:00+02:00", (4, "2026-05-01T02:00:00+02:00")),
    ],
)
def test_a_gap_has_all_missed_ticks(last: str | None, tick: str, gap: tuple[int, str] | None) -> None:
    missed = missed_ticks("0 2 * * *", BERLIN, at(last) if last else None, at(tick))
    assert missed == (gap and Gap(gap[0], at(gap[1]), at("2026-05-04T02:00:00+02:00")))


def test_a_long_gap_is_counted_up_to_a_limit() -> None:
    gap = missed_ticks("* * * * *", BERLIN, at("2020-01-01T00:00:00+01:00"), at("2026-01-01T00:00:00+01:00"))
    assert gap is not None
    assert gap.ticks == 1000
    assert all(a < b for a, b in pairwise([gap.first, gap.last]))
