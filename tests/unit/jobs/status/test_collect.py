"""Which databases the page shows, and their verification."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from jobs.run.job import Outcome
from jobs.run.latest import NO_RUNS, RunSummary
from jobs.run.lease import Holder
from jobs.status.collect import DatabaseStatus, database_statuses, last_result
from jobs.status.health import Health, HealthState, subject_health
from jobs.status.history import DayRuns
from tests.parts.bills import at
from tests.parts.runs import environment
from tests.parts.sets import listed
from tests.parts.signing import TRUST

NOW = at("2026-11-21")
OLD = replace(listed(NOW - timedelta(days=1)), size=10)
NEW = replace(listed(NOW - timedelta(hours=7)), size=20)
OPEN = listed(NOW - timedelta(hours=1), complete=False)
UNSIGNED = replace(listed(NOW - timedelta(hours=2)), trust=TRUST)
FILE = """
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
backup = "0 2 * * *"
[databases.by-hand]
url = "postgresql://backup@shop.internal/hand"
[servers.main]
url = "postgresql://backup@main.internal/postgres"
backup = "0 2 * * *"
"""


def test_databases_are_those_with_a_schedule_a_set_or_a_run() -> None:
    failed = Health("backup", "main.crm", HealthState.FAILED, NOW, "no route", None)
    whole = replace(failed, subject="main", sentence="unreachable")
    databases = database_statuses(
        environment(more=FILE), [NEW, OLD, OPEN, UNSIGNED, replace(OLD, database="gone")], [failed, whole]
    )
    facts = [(database.name, database.newest_size, database.backup) for database in databases]
    assert facts == [
        ("gone", 10, None),
        ("main.crm", None, failed),
        ("shop", 20, None),
    ]
    assert databases[2].newest == NEW.started
    assert [database.untrusted for database in databases] == [0, 0, 1]


def test_the_newest_result_of_a_trusted_set_counts() -> None:
    verified, failed = listed(OLD.started, verified=NOW - timedelta(hours=9)), listed(NEW.started, failed=NOW)
    assert last_result([verified, NEW]) == verified.results[0]
    assert last_result([verified, failed]) == failed.results[0]
    assert last_result([verified, replace(failed, trust=TRUST)]) == verified.results[0]
    assert last_result([NEW]) is None


def test_a_failed_verification_is_no_success() -> None:
    passed, failed = listed(OLD.started, verified=NOW).results[0], listed(OLD.started, failed=NOW).results[0]
    assert DatabaseStatus("shop", None, None, passed).verified == NOW
    assert DatabaseStatus("shop", None, None, failed).verified is None
    assert DatabaseStatus("shop", None, None, failed).failed_verification
    assert not DatabaseStatus("shop", None, None).failed_verification


def test_without_a_listing_the_runs_of_the_jobs_count() -> None:
    backup = Health("backup", "shop", HealthState.OK, NOW, "", None)
    verify = Health("verify", "shop", HealthState.OK, NOW, "", None, succeeded=NOW, figures={"seconds": 71.0})
    (shop,) = database_statuses(environment(more=FILE), [], [backup, verify], listed=False)
    days = {NOW.date() - timedelta(days=back): DayRuns(1, run=f"2026112{1 - back}T020000Z-a", stored_bytes=back + 7)
            for back in (1, 0)}  # fmt: skip
    shop = replace(shop, days=days)
    assert (shop.newest, shop.newest_size) == (NOW.replace(hour=2), 7)
    assert (shop.verified, shop.recovery_time) == (NOW, timedelta(seconds=71))
    failed = replace(shop, verification=replace(verify, state=HealthState.FINDING))
    assert (failed.failed_verification, failed.verified, failed.recovery_time) == (True, None, None)


STOPPED = (Outcome.FAILED, "stopped by SIGTERM")
DAMAGED = (Outcome.FAILED, "part shop.rest is damaged")
DIFFERS = (Outcome.FINDING, "set differs from its manifest")
TOO_LONG = (Outcome.FAILED, "stopped by its time limit of 6:00:00")


@pytest.mark.parametrize(
    ("later", "failed"),
    [([], False), ([STOPPED], False), ([TOO_LONG], False), ([DAMAGED], True), ([DIFFERS], True),
     ([DIFFERS, STOPPED], True), ([DAMAGED, STOPPED], True)],
)  # fmt: skip
def test_a_stopped_verification_has_not_failed(later: list[tuple[Outcome, str]], failed: bool) -> None:
    runs = NO_RUNS
    for hours, (outcome, sentence) in enumerate([(Outcome.DONE, "verified"), *later]):
        ended = NOW + timedelta(hours=hours)
        runs = runs.with_run(RunSummary(str(hours), ended, ended, outcome, sentence))
    lock = Holder("0", "runner", 1, NOW, 60, released=NOW, runs=runs)
    verification = subject_health("verify/shop", lock, None, NOW + timedelta(days=1))
    shop = DatabaseStatus("shop", None, None, verification=verification, listed=False)
    assert (shop.failed_verification, shop.verified) == (failed, None if failed else NOW)
