"""The report of the job `digest`: sent once for each scheduled time, with the numbers of the week."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, timedelta
from pathlib import Path

from jobs.run import Options, run_job
from jobs.run.job import Severity
from jobs.run.record import record_to
from jobs.schedule.slots import Slot, slots
from jobs.status.collect import DatabaseStatus, EnvironmentStatus
from jobs.status.digest import DIGEST, report_text, report_title, week_of_backups
from jobs.status.health import Health, HealthState
from jobs.status.history import DayRuns
from tests.parts.bills import at
from tests.parts.runs import clock, environment, store_in
from tests.unit.jobs.status.test_history import record

NOW = at("2026-11-21")
TODAY = date(2026, 11, 21)
GOOD, VERIFIED = DayRuns(backups=2, run="r"), DayRuns(backups=1, failed_backups=1, verifications=1, run="r")
SHOP = DatabaseStatus("shop", None, None, days={TODAY - timedelta(days=back): GOOD for back in range(10)})
CRM = DatabaseStatus("crm", None, None, days={TODAY: VERIFIED})
FAILED = Health("backup", "shop", HealthState.FAILED, NOW - timedelta(hours=5), "no route", None)
OFFSITE = '[copies.offsite]\nurl = "file:///copy"\n'


def test_the_week_counts_seven_days_with_today() -> None:
    week = week_of_backups([SHOP, CRM], NOW)
    assert (week.databases, week.backups, week.failed_backups, week.verified) == (2, 15, 1, 1)
    assert week.not_verified == ("shop",)


def test_the_report_says_all_in_its_subject_line_and_how_to_notice_that_it_is_missing() -> None:
    week, status = week_of_backups([SHOP, CRM], NOW), EnvironmentStatus("staging", UTC, health=(FAILED,))
    assert report_title(week, status) == "2 databases backed up 15 times in 7 days, 1 verified, 1 problem"
    scheduled = environment(more=OFFSITE)
    scheduled = replace(scheduled, alerts=replace(scheduled.alerts, digest="0 8 * * 1"))
    assert report_text(week, status, 312_000_000_000, scheduled, NOW).splitlines() == [
        "Backups: 15 made, 1 failed.",
        "Stored: 312 GB in the store. Places: the store, offsite.",
        "Not verified in 7 days: shop.",
        "Problems now:",
        "- backup shop: failed since 05:00",
        "The schedule of this report is 0 8 * * 1. If it does not come, nothing runs: crew status staging",
    ]


def test_it_is_a_notice_that_is_sent_once_a_day(tmp_path: Path) -> None:
    env, store = environment(("json://127.0.0.1:1/",)), store_in(tmp_path)
    env = replace(env, alerts=replace(env.alerts, digest="0 8 * * 1"))
    one = record(NOW - timedelta(hours=1))
    store.put(one.key, record_to(one))
    assert Slot("digest", "", "0 8 * * 1") in slots(env)
    (dry,) = run_job(DIGEST, env, store, Options(dry_run=True), now=clock(NOW))
    assert dry.notice is None
    (sent,) = run_job(DIGEST, env, store, Options(), now=clock(NOW))
    assert sent.notice is not None
    assert (sent.notice.keys, sent.notice.severity) == (("digest 2026-11-21",), Severity.INFO)
    assert sent.sentence == dry.sentence.removeprefix("would send: ") == sent.notice.title
