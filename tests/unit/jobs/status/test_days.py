"""The marks of a strip of days, and the texts behind them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.run import Outcome
from jobs.run.record import RecordKey
from jobs.status.days import Mark, describe_days, due_days, mark_of, marked_days, marks
from jobs.status.history import DayRuns, with_record

TODAY = date(2026, 11, 21)
NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
GOOD = DayRuns(backups=1, run="r")


@pytest.mark.parametrize(
    ("runs", "due", "mark"),
    [
        (None, False, Mark.NONE),
        (None, True, Mark.MISSING),
        (GOOD, True, Mark.BACKED_UP),
        (GOOD, False, Mark.BACKED_UP),
        (DayRuns(backups=1, failed_backups=1), True, Mark.BACKED_UP),
        (DayRuns(backups=1, failed_backups=1, backup_failed=True), True, Mark.FAILED),
        (DayRuns(failed_backups=1, backup_failed=True), True, Mark.FAILED),
        (DayRuns(backups=1, verifications=1), True, Mark.VERIFIED),
        (DayRuns(verifications=1), False, Mark.VERIFIED),
        (DayRuns(verifications=1), True, Mark.MISSING),
        (DayRuns(backups=1, verifications=1, failed_verifications=1, verification_failed=True), True, Mark.FAILED),
        (DayRuns(backups=1, verifications=2, failed_verifications=1), True, Mark.VERIFIED),
    ],
)
def test_the_mark_of_a_day(runs: DayRuns | None, due: bool, mark: Mark) -> None:
    assert mark_of(runs, due=due) is mark


def test_the_last_run_of_a_day_decides() -> None:
    def key(job: str, outcome: Outcome, hour: int) -> RecordKey:
        return RecordKey("", f"20261121T{hour:02}0000Z-aaaaaa", job, outcome, "shop", NOW)

    day = DayRuns()
    for each in (
        key("backup", Outcome.DONE, 8),
        key("verify", Outcome.FINDING, 7),
        key("backup", Outcome.DIED, 6),
        key("verify", Outcome.DONE, 5),
        key("backup", Outcome.RUNNING, 4),
        key("backup", Outcome.FINDING, 3),
    ):
        day = with_record(day, each)
    assert day == DayRuns(2, 1, False, 2, 1, True, run="20261121T080000Z-aaaaaa")


@pytest.mark.parametrize(
    ("line", "first", "due"),
    [
        (None, NOW - timedelta(days=9), set()),
        ("0 2 * * *", None, set()),
        ("0 2 * * *", NOW - timedelta(days=2), {date(2026, 11, 20), TODAY}),
        ("0 12 * * *", NOW - timedelta(days=2), {date(2026, 11, 19), date(2026, 11, 20)}),
        ("25 10 * * *", NOW, set()),  # five minutes ago in Berlin: it may be late
        ("0 2 * * 0", NOW - timedelta(days=10), {date(2026, 11, 15)}),
    ],
)
def test_days_with_a_backup_in_the_schedule(line: str | None, first: datetime | None, due: set[date]) -> None:
    assert due_days(line, BERLIN, first, NOW) == due


def test_neighbouring_days_share_a_mark_and_its_text_counts_them() -> None:
    days = {TODAY - timedelta(days=back): GOOD for back in (0, 1, 2, 5)}
    days[TODAY - timedelta(days=3)] = DayRuns(backups=1, failed_backups=2, backup_failed=True)
    due = {TODAY - timedelta(days=back) for back in range(6)}
    of_days = marks(days, due, TODAY)
    assert [(each.first, each.days, each.mark, each.text) for each in marked_days(days, of_days, TODAY)] == [
        (84, 1, Mark.BACKED_UP, "Nov 16: 1 backup"),
        (85, 1, Mark.MISSING, "Nov 17: no backup, although one was due"),
        (86, 1, Mark.FAILED, "Nov 18: failed, 1 backup, 2 failed backups"),
        (87, 3, Mark.BACKED_UP, "Nov 19 to 21: 3 backups"),
    ]
    assert describe_days(of_days) == "Last 90 days: failed on 1 day, missing on 1 day, backed up on 4 days"
    assert describe_days([Mark.NONE]) == "Last 90 days: no backup was due"
