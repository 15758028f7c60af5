"""Which ticks are due, overdue and upcoming."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.run.ticks import Gap
from jobs.schedule.due import Due, describe_line, due, last_complete_run, last_run, overdue, upcoming
from jobs.schedule.slots import Slot

BERLIN = ZoneInfo("Europe/Berlin")
HOURLY, NIGHTLY = Slot("drift", "", "0 * * * *"), Slot("backup", "shop", "0 2 * * *")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-{text}+00:00")


@pytest.mark.parametrize(
    ("slot", "last", "now", "expected"),
    [
        (HOURLY, "21T10:00", "21T10:59:59", None),
        (HOURLY, "21T10:00", "21T11:00:00", Due(HOURLY, at("21T11:00"), None)),
        (HOURLY, "21T10:00", "21T11:40:00", Due(HOURLY, at("21T11:00"), None)),
        (HOURLY, "21T10:00", "21T13:05", Due(HOURLY, at("21T13:00"), Gap(2, at("21T11:00"), at("21T12:00")))),
        (HOURLY, "21T10:20", "21T11:00", Due(HOURLY, at("21T11:00"), None)),
        (HOURLY, "21T15:00", "21T11:00", None),
        (NIGHTLY, "20T01:00", "21T00:59:59", None),
        (NIGHTLY, "20T01:00", "21T01:00", Due(NIGHTLY, at("21T01:00"), None)),
        (NIGHTLY, "17T01:00", "21T09:00", Due(NIGHTLY, at("21T01:00"), Gap(3, at("18T01:00"), at("20T01:00")))),
    ],
)
def test_the_newest_tick_is_due_and_covers_the_missed_ones(
    slot: Slot, last: str, now: str, expected: Due | None
) -> None:
    assert due(slot, BERLIN, at(last), at(now)) == expected


def test_a_run_in_the_future_is_not_the_last_run() -> None:
    now = at("21T10:00")
    assert last_run([at("20T10:00"), at("21T10:01"), at("21T10:02")], now) == at("21T10:01")
    assert last_run([at("22T10:00")], now) is None


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ({}, None),
        ({"main.a": ["20T01:00", "21T01:00"], "main.b": ["20T01:00", "21T01:00"]}, "21T01:00"),
        ({"main.a": ["20T01:00", "21T01:00"], "main.b": ["20T01:00"]}, "20T01:00"),
        ({"main.a": ["17T01:00", "21T01:00"], "main.b": ["17T01:00"]}, "17T01:00"),
        ({"main.a": ["19T01:00", "20T01:00", "21T01:00"], "main.dropped": ["19T01:00"]}, "21T01:00"),
        ({"main.a": ["20T01:00", "21T01:00"], "main.new": ["21T01:00"]}, "21T01:00"),
        ({"main.a": ["21T01:00", "21T09:12"], "main.b": ["21T01:00"]}, "21T09:12"),
        ({"main.a": ["20T01:00", "21T09:12"], "main.b": ["20T01:00"]}, "20T01:00"),
        ({"main.a": ["20T09:12:00", "21T01:00"], "main.b": ["20T09:12:03", "21T01:00"], "main.c": ["20T09:12:01"]},
         "20T09:12:01"),
        ({"main.a": ["20T01:00", "29T01:00"], "main.b": ["20T01:00"]}, "20T01:00"),
    ],
)  # fmt: skip
def test_a_run_of_a_server_is_complete_when_no_database_lacks_it(
    runs: dict[str, list[str]], expected: str | None
) -> None:
    times = {subject: [at(time) for time in of_subject] for subject, of_subject in runs.items()}
    found = last_complete_run(times, "0 2 * * *", BERLIN, at("21T10:00"))
    assert found == (expected and at(expected))


def test_a_tick_is_overdue_after_ten_minutes() -> None:
    assert overdue(HOURLY, BERLIN, at("21T10:00"), at("21T11:05")) is None
    assert overdue(HOURLY, BERLIN, at("21T10:00"), at("21T11:11")) == at("21T11:00")
    assert overdue(HOURLY, BERLIN, None, at("21T11:11")) is None


def test_the_next_runs_are_in_the_timezone_of_the_environment() -> None:
    next_runs = upcoming(NIGHTLY, BERLIN, at("21T10:00"))
    assert [run.isoformat() for run in next_runs] == [f"2026-11-{day}T02:00:00+01:00" for day in (22, 23, 24)]
    assert next_runs[1] - next_runs[0] == timedelta(days=1)


def test_a_line_in_words() -> None:
    assert describe_line("0 2 * * *") == "At 02:00 every day"
