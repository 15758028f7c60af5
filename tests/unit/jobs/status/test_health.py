"""The health of a subject, from its last record, its lock and its schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Repository
from jobs.run import Outcome, Record
from jobs.run.lease import Holder
from jobs.run.record import record_to, tick_key
from jobs.status.health import (
    Health,
    HealthState,
    by_severity,
    environment_health,
    subject_health,
    unsuccessful_streak,
)
from tests.parts.runs import store_in

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
DUE = NOW - timedelta(hours=7)


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


DONE = Record(
    environment="try", job="count", subject="shop", run="r1", tick=None, started=minutes_ago(31),
    ended=minutes_ago(30), outcome=Outcome.DONE, sentence="12 rows", figures={}, about="", attempts=1, stopped=None,
    host="a", pid=1, scheduled=False, took_over=None, missed=None, log=(),
)  # fmt: skip
FAILED = replace(DONE, outcome=Outcome.FAILED, sentence="no room")
ODD = replace(DONE, outcome=Outcome.FINDING, sentence="3 rows are missing")
OLD = replace(DONE, started=DUE - timedelta(days=1), ended=DUE - timedelta(days=1))
ALIVE = Holder(run="r2", host="b", pid=7, since=minutes_ago(3), seconds=60, renewed=minutes_ago(0.1))
DEAD = replace(ALIVE, renewed=minutes_ago(2))
FREE = replace(ALIVE, released=minutes_ago(1))


@pytest.mark.parametrize(
    ("last", "lock", "due", "state", "since", "sentence"),
    [
        (DONE, None, None, HealthState.OK, DONE.ended, "12 rows"),
        (DONE, FREE, DUE, HealthState.OK, DONE.ended, "12 rows"),
        (FAILED, FREE, None, HealthState.FAILED, FAILED.ended, "no room"),
        (ODD, None, None, HealthState.FINDING, ODD.ended, "3 rows are missing"),
        (DONE, ALIVE, None, HealthState.RUNNING, ALIVE.since, "on b (pid 7); previous run done: 12 rows"),
        (None, ALIVE, None, HealthState.RUNNING, ALIVE.since, "on b (pid 7)"),
        (DONE, DEAD, None, HealthState.DIED, DEAD.renewed, "run r2 on b (pid 7) was killed or crashed"),
        (FAILED, DEAD, None, HealthState.DIED, DEAD.renewed, "previous run failed: no room"),
        (FAILED, replace(DEAD, run="r1"), None, HealthState.FAILED, FAILED.ended, "no room"),
        (OLD, FREE, DUE, HealthState.OVERDUE, DUE, "no run since it was due"),
        (replace(OLD, outcome=Outcome.FINDING), None, DUE, HealthState.OVERDUE, DUE, "previous run finding"),
        (replace(OLD, tick=DUE), FREE, DUE, HealthState.OK, OLD.ended, "12 rows"),
        (replace(OLD, outcome=Outcome.FAILED), FREE, DUE, HealthState.FAILED, OLD.ended, "12 rows"),
        (None, None, DUE, HealthState.NEVER, DUE, "no run since it was due"),
        (None, None, None, HealthState.NOT_YET, None, "waiting for the first scheduled time"),
    ],
)
def test_the_health_of_a_subject(
    last: Record | None, lock: Holder | None, due: datetime | None, state: HealthState, since: datetime, sentence: str
) -> None:
    health = subject_health("count/shop", last, lock, due, NOW)
    assert (health.job, health.subject, health.state, health.since) == ("count", "shop", state, since)
    assert sentence in health.sentence


def test_problems_come_first_and_then_the_newest() -> None:
    rows = [
        Health("a", "x", HealthState.OK, minutes_ago(1), "", None),
        Health("b", "x", HealthState.RUNNING, minutes_ago(2), "", None),
        Health("c", "x", HealthState.FAILED, minutes_ago(90), "", None),
        Health("d", "x", HealthState.NEVER, None, "", None),
        Health("e", "x", HealthState.FAILED, minutes_ago(5), "", None),
    ]
    assert [row.job for row in by_severity(rows)] == ["e", "c", "d", "b", "a"]


@pytest.mark.parametrize(
    ("newest_first", "in_a_row"),
    [([FAILED, ODD, DONE, FAILED], [FAILED, ODD]), ([DONE, FAILED], []), ([], []), ([FAILED], [FAILED])],
)
def test_the_streak_goes_back_to_the_last_successful_run(newest_first: list[Record], in_a_row: list[Record]) -> None:
    assert list(unsuccessful_streak(newest_first)) == in_a_row


def test_running_and_waiting_jobs_are_no_problem() -> None:
    assert [state for state in HealthState if not state.is_problem] == [
        HealthState.RUNNING,
        HealthState.NOT_YET,
        HealthState.GONE,
        HealthState.OK,
    ]


def test_a_record_dated_in_the_future_hides_no_later_run(tmp_path: Path) -> None:
    (tmp_path / "try.toml").write_text(f'[environment]\nname = "try"\n[store]\nurl = "file://{tmp_path}/store"\n'
                                       'encrypt_to = "nobody"\n')  # fmt: skip
    environment = Repository.find(tmp_path).read("try")
    store = store_in(tmp_path / "store")
    ahead = NOW + timedelta(days=30)
    for record in (replace(DONE, started=ahead, ended=ahead), replace(FAILED, started=minutes_ago(31))):
        store.put(tick_key("try", "count", "shop", record.started), record_to(record))
    only_ahead = replace(DONE, subject="crm", started=ahead, ended=ahead)
    store.put(tick_key("try", "count", "crm", ahead), record_to(only_ahead))
    shop, crm = environment_health([], environment, store, NOW)
    ignored = "; a run record dated 2026-12-21 09:30 UTC, in the future, is ignored: check the clocks"
    assert (shop.subject, shop.state) == ("shop", HealthState.FAILED)
    assert shop.sentence.startswith(f"no room{ignored}")
    assert (crm.subject, crm.state) == ("crm", HealthState.NOT_YET)
    assert ignored in crm.sentence
