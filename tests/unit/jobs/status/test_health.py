"""The health of a subject, from its last record, its lock and its schedule."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup.sets import recent
from jobs.backup.sets.signatures import SigningKey
from jobs.checks import CheckVerdict, lost_backups
from jobs.run import Outcome
from jobs.run.holders import write_snapshot
from jobs.run.latest import NO_RUNS, RunSummary
from jobs.run.lease import Holder, holder_to, lock_key
from jobs.run.record import record_of_dead_run, record_to
from jobs.status.health import (
    Health,
    HealthState,
    by_severity,
    environment_health,
    set_expected_since,
    subject_health,
)
from jobs.store import Store
from tests.parts.runs import CountingStore, store_in
from tests.parts.sets import objects
from tests.parts.signing import PUBLIC_LINES, SET_SIGNER

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
DUE = NOW - timedelta(hours=7)


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


DONE = RunSummary("r1", minutes_ago(31), minutes_ago(30), Outcome.DONE, "12 rows")
FAILED = replace(DONE, outcome=Outcome.FAILED, sentence="no room")
ODD = replace(DONE, outcome=Outcome.FINDING, sentence="3 rows are missing")
OLD = replace(DONE, started=DUE - timedelta(days=1), ended=DUE - timedelta(days=1))
ALIVE = Holder(run="r2", host="b", pid=7, since=minutes_ago(3), seconds=60, renewed=minutes_ago(0.1))
DEAD = replace(ALIVE, renewed=minutes_ago(2))
FREE = replace(ALIVE, released=minutes_ago(1))


@pytest.mark.parametrize(
    ("last", "lock", "due", "state", "since", "sentence"),
    [
        (DONE, FREE, None, HealthState.OK, DONE.ended, "12 rows"),
        (DONE, FREE, DUE, HealthState.OK, DONE.ended, "12 rows"),
        (FAILED, FREE, None, HealthState.FAILED, FAILED.ended, "no room"),
        (ODD, FREE, None, HealthState.FINDING, ODD.ended, "3 rows are missing"),
        (DONE, ALIVE, None, HealthState.RUNNING, ALIVE.since, "on b (pid 7); previous run done: 12 rows"),
        (None, ALIVE, None, HealthState.RUNNING, ALIVE.since, "on b (pid 7)"),
        (DONE, DEAD, None, HealthState.DIED, DEAD.renewed, "run r2 on b (pid 7) was killed or crashed"),
        (FAILED, DEAD, None, HealthState.DIED, DEAD.renewed, "previous run failed: no room"),
        (replace(FAILED, outcome=Outcome.DIED), FREE, DUE, HealthState.DIED, FAILED.ended, "no room"),
        (OLD, FREE, DUE, HealthState.OVERDUE, DUE, "no run since it was due"),
        (replace(OLD, outcome=Outcome.FINDING), FREE, DUE, HealthState.OVERDUE, DUE, "previous run finding"),
        (replace(OLD, started=DUE - timedelta(seconds=30), tick=DUE), FREE, DUE, HealthState.OK, OLD.ended, "12 rows"),
        (replace(OLD, outcome=Outcome.FAILED), FREE, DUE, HealthState.FAILED, OLD.ended, "12 rows"),
        (None, FREE, DUE, HealthState.NEVER, DUE, "no run since it was due"),
        (None, FREE, None, HealthState.NOT_YET, None, "waiting for the first scheduled time"),
    ],
)
def test_the_health_of_a_subject(
    last: RunSummary | None, lock: Holder, due: datetime | None, state: HealthState, since: datetime, sentence: str
) -> None:
    runs = NO_RUNS.with_run(last) if last else NO_RUNS
    health = subject_health("count/shop", replace(lock, runs=runs), due, NOW)
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


def test_a_problem_began_with_the_first_run_after_the_last_success() -> None:
    runs = NO_RUNS
    for minutes, outcome in ((90, Outcome.FAILED), (80, Outcome.DONE), (70, Outcome.FINDING), (60, Outcome.FAILED)):
        runs = runs.with_run(replace(DONE, ended=minutes_ago(minutes), outcome=outcome))
    assert (runs.problem_since, runs.succeeded) == (minutes_ago(70), minutes_ago(80))
    assert runs.with_run(DONE).problem_since is None


def test_running_and_waiting_jobs_are_no_problem() -> None:
    assert [state for state in HealthState if not state.is_problem] == [
        HealthState.RUNNING,
        HealthState.NOT_YET,
        HealthState.GONE,
        HealthState.OK,
    ]


def test_a_run_beyond_its_time_limit_is_a_problem() -> None:
    planted = replace(ALIVE, since=minutes_ago(7 * 60))
    health = subject_health("backup/shop", planted, None, NOW, timedelta(hours=6))
    assert (health.state, health.state.is_problem) == (HealthState.TOO_LONG, True)
    assert "on b (pid 7), longer than its time limit of 6 h" in health.sentence
    assert subject_health("backup/shop", ALIVE, None, NOW, timedelta(hours=6)).state is HealthState.RUNNING


def test_a_lock_renewed_in_the_future_is_of_a_dead_run() -> None:
    planted = replace(ALIVE, renewed=NOW + timedelta(days=365))
    assert subject_health("backup/shop", planted, None, NOW).state is HealthState.DIED


def test_a_run_dated_in_the_future_hides_nothing() -> None:
    ahead = NO_RUNS.with_run(replace(DONE, started=NOW + timedelta(days=30), ended=NOW + timedelta(days=30)))
    health = subject_health("count/shop", replace(FREE, runs=ahead), DUE, NOW)
    assert health.state is HealthState.NEVER
    assert "; a run dated 2026-12-21 09:30 UTC, in the future, is ignored: check the clocks" in health.sentence
    later = replace(FREE, runs=ahead.with_run(FAILED))
    assert subject_health("count/shop", later, DUE, NOW).sentence == "no room"


@pytest.fixture
def opened(tmp_path: Path) -> tuple[Environment, Store]:
    (tmp_path / "try.toml").write_text(f'[environment]\nname = "try"\n[store]\nurl = "file://{tmp_path}/store"\n'
                                       'encrypt_to = "nobody"\nsign_with = "nobody"\n'
                                       '[databases.shop]\nurl = "postgresql://db/shop"\n'
                                       '[servers.main]\nurl = "postgresql://db/postgres"\n')  # fmt: skip
    return Repository.find(tmp_path).read("try"), store_in(tmp_path / "store")


def test_a_run_that_was_killed_after_it_wrote_its_record_has_not_died(
    opened: tuple[Environment, Store],
) -> None:
    environment, store = opened
    run = "20261121T085900Z-3f9a21"
    store.put("try/locks/count/shop.json", holder_to(replace(DEAD, run=run)))
    (shop,) = environment_health([], environment, store, NOW)
    assert shop.state is HealthState.DIED
    record = replace(
        record_of_dead_run("try", "count/shop", replace(DEAD, run=run)), outcome=Outcome.DONE, sentence="9"
    )
    store.put(record.key, record_to(record))
    (shop,) = environment_health([], environment, store, NOW)
    assert (shop.state, shop.sentence) == (HealthState.OK, "9")


@pytest.mark.parametrize(
    ("minutes", "complete", "signer", "state"),
    [
        (31, True, SET_SIGNER, HealthState.OK),
        (31, True, None, HealthState.LOST),
        (31, False, SET_SIGNER, HealthState.LOST),
        (25 * 60, True, SET_SIGNER, HealthState.LOST),
        (-3 * 24 * 60, True, SET_SIGNER, HealthState.LOST),
        (None, True, SET_SIGNER, HealthState.LOST),
    ],
)
def test_a_backup_that_was_done_but_has_no_trusted_set_is_lost(
    opened: tuple[Environment, Store],
    minutes: float | None,
    complete: bool,
    signer: SigningKey | None,
    state: HealthState,
) -> None:
    environment, store = opened
    assert environment.store is not None
    signed = replace(environment, store=replace(environment.store, sign_with=None, trust=tuple(PUBLIC_LINES)))
    store.put("try/locks/backup/shop.json", holder_to(replace(FREE, runs=NO_RUNS.with_run(DONE))))
    for key in objects(minutes_ago(minutes), complete=complete, signer=signer) if minutes is not None else ():
        store.put(key, b"")
    counted = CountingStore(store)
    (shop,) = environment_health([], signed, counted, NOW)
    assert (shop.state, shop.state.is_problem) == (state, state is HealthState.LOST)
    assert counted.requests.count("list try/backups/shop/") == 1
    if state is HealthState.LOST:
        assert shop.sentence.startswith("no trusted set since 2026-11-21T08:54:00Z, although the backup was done; see")
        result = lost_backups.check_backups_exist(signed, store, NOW)
        assert (result.verdict, "backup of shop is gone" in result.fact) == (CheckVerdict.FAULT, True)


def test_the_status_of_many_databases_needs_few_requests_and_counts_sets_that_it_did_not_check(
    opened: tuple[Environment, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, store = opened
    names = [f"main.{number:02}" for number in range(40)]
    locks = {lock_key("try", "backup", name): holder_to(replace(FREE, runs=NO_RUNS.with_run(DONE))) for name in names}
    write_snapshot(store, "try", {key: (store.put(key, body), body) for key, body in locks.items()})
    for name in names[1:]:
        store.put(next(reversed(objects(minutes_ago(31), database=name))), b"")
    monkeypatch.setattr(recent, "_KEYS_OF_LISTING", 1)
    counted = CountingStore(store)
    health = environment_health([], environment, counted, NOW, few_requests=True)
    assert len(counted.requests) + 1 <= 30, "one more lists the names of the databases"
    states = {each.subject: each.state for each in health}
    assert states.pop("main.00") is HealthState.LOST
    assert set(states.values()) == {HealthState.OK}
    assert not any(each.set_checked for each in health if each.state is HealthState.OK)


@pytest.mark.parametrize(
    ("state", "job", "last", "due", "since"),
    [
        (HealthState.OK, "backup", DONE, None, DONE.started),
        (HealthState.OK, "backup", OLD, DUE, DUE),  # its lock lies, or it ran a little early
        (HealthState.OK, "backup", DONE, DUE, DONE.started),
        (HealthState.OK, "count", DONE, None, None),
        (HealthState.RUNNING, "backup", OLD, DUE, OLD.started),
        (HealthState.RUNNING, "backup", FAILED, None, None),
        (HealthState.FAILED, "backup", FAILED, None, None),
        (HealthState.NOT_YET, "backup", None, None, None),
    ],
)
def test_since_when_a_set_is_expected(
    state: HealthState, job: str, last: RunSummary | None, due: datetime | None, since: datetime | None
) -> None:
    expected = set_expected_since(Health(job, "shop", state, None, "", last), due)
    assert expected == (since and since - timedelta(minutes=5))
