import json
import math
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import jobs.log
from inventories import Secret
from jobs.run import (
    Failed,
    Options,
    Outcome,
    Record,
    Result,
    Run,
    Stopped,
    Transient,
    exit_code,
    records,
    run_job,
    unrecorded_run,
)
from jobs.run.lease import Holder, Lock, acquire, holder_to
from jobs.run.record import last_tick, latest_records, live_holders, record_from, record_keys, record_to
from jobs.run.runner import retry
from jobs.store import OutOfReach, Store
from tests.parts.runs import QUICK, code_of, done, environment, job, lease, process, store_in, until

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
SCHEDULED = Options(scheduled=True)
ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def only(found: list[Record]) -> Record:
    (record,) = found
    return record


@pytest.mark.parametrize(
    ("outcomes", "by_hand", "scheduled"),
    [
        ([], 0, 0),
        (["done"], 0, 0),
        (["finding"], 2, 0),
        (["held"], 75, 0),
        (["failed"], 1, 1),
        (["done", "finding", "held"], 2, 0),
        (["held", "failed", "finding"], 1, 1),
        (["done", "held"], 75, 0),
    ],
)
def test_the_exit_code_tells_the_worst_and_a_scheduler_only_failures(
    store: Store, outcomes: list[str], by_hand: int, scheduled: int
) -> None:
    record = only(run_job(job(done), ENV, store, Options()))
    found = [replace(record, outcome=Outcome(outcome)) for outcome in outcomes]
    assert (exit_code(found, scheduled=False), exit_code(found, scheduled=True)) == (by_hand, scheduled)


def test_subjects_run_side_by_side_and_no_more_of_them_than_the_job_allows(store: Store) -> None:
    running, most, two = set[str](), list[int](), threading.Barrier(2, timeout=10)

    def work(run: Run) -> Result:
        running.add(run.subject)
        most.append(len(running))
        two.wait()
        running.discard(run.subject)
        return done(run)

    ended = run_job(job(work, "a", "b", "c", "d", side_by_side=2), ENV, store, Options())
    assert [record.outcome for record in ended] == [Outcome.DONE] * 4
    assert max(most) == 2


def test_a_run_leaves_its_record_and_a_released_lock(store: Store) -> None:
    run_job(job(done, "shop", "crm"), ENV, store, Options())
    assert {(r.name, r.outcome, r.sentence) for r in records(store, "staging")} == {
        ("backup/shop", Outcome.DONE, "all is well"),
        ("backup/crm", Outcome.DONE, "all is well"),
    }
    for name in ("shop", "crm"):
        assert json.loads(store.get(f"staging/locks/backup/{name}.json").body)["released"]
    assert live_holders(store, "staging", datetime.now(UTC)) == {}


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    clock = iter([NOON, NOON + timedelta(days=3)])
    for moment in clock:
        run_job(job(done, line="0 12 * * *"), ENV, store, SCHEDULED, now=lambda moment=moment: moment)  # type: ignore[misc]
    record = next(records(store, "staging"))
    assert record.missed
    assert record.missed.ticks == 2
    assert record_from("key", record_to(record)) == record


def test_records_are_listed_newest_first_and_read_only_when_shown(store: Store) -> None:
    for day in (3, 1, 2):
        moment = NOON.replace(day=day)
        run_job(job(done), ENV, store, Options(), now=lambda moment=moment: moment)  # type: ignore[misc]
    assert [r.started.day for r in records(store, "staging", "backup", "shop")] == [3, 2, 1]
    store.put(record_keys(store, "staging")[2], b"broken")
    assert next(records(store, "staging")).started.day == 3
    assert [r.started.day for r in latest_records(store, "staging")] == [3]


def test_what_does_not_look_like_a_record_is_passed_over(store: Store) -> None:
    for name in ("notes.txt", "backup/shop/notes.json", "backup/shop/20261121T110300Z.json.swp"):
        store.put(f"staging/runs/{name}", b"hello")
    assert record_keys(store, "staging") == []


def test_a_newer_format_is_said_and_not_guessed_at(store: Store) -> None:
    run_job(job(done), ENV, store, Options())
    key = record_keys(store, "staging")[0]
    store.put(key, b'{"format": 2}')
    with pytest.raises(Failed, match="has format 2, and this groundcrew reads 1; update groundcrew here"):
        list(records(store, "staging"))


def test_a_tick_that_is_done_is_not_run_again(store: Store) -> None:
    ran = []

    def work(run: Run) -> Result:
        ran.append(run.tick)
        return done(run)

    daily = job(work, line="0 12 * * *")
    for seconds in (-40, 0, 5, 3600):
        run_job(daily, ENV, store, SCHEDULED, now=lambda seconds=seconds: NOON + timedelta(seconds=seconds))  # type: ignore[misc]
    assert ran == [NOON]
    assert last_tick(store, "staging", "backup", "shop", NOON + timedelta(seconds=1)) == NOON
    run_job(daily, ENV, store, Options(), now=lambda: NOON)
    assert ran == [NOON, None], "by hand a run always runs"


def test_a_tick_that_failed_is_tried_again_and_counts_its_attempts(store: Store) -> None:
    ended = iter([Result(Outcome.FAILED, "no"), Result(Outcome.DONE, "yes")])
    daily = job(lambda _run: next(ended), line="0 12 * * *")
    first, second = (only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON)) for _ in range(2))
    assert (first.attempts, second.attempts) == (1, 2)
    assert [r.sentence for r in records(store, "staging")] == ["yes"]


@pytest.mark.parametrize(
    ("error", "tries", "sentence"),
    [
        (Transient("the network"), 3, "the network"),
        (OutOfReach("the store is away"), 3, "the store is away"),
        (Failed("bad password"), 1, "bad password"),
        (ZeroDivisionError("oops"), 1, "a bug: ZeroDivisionError: oops; its traceback is in the log"),
    ],
)
def test_only_what_may_pass_is_tried_again(store: Store, error: Exception, tries: int, sentence: str) -> None:
    began = []

    def work(_run: Run) -> Result:
        began.append(1)
        raise error

    record = only(run_job(job(work), ENV, store, Options(), patience=QUICK))
    assert (record.outcome, record.sentence) == (Outcome.FAILED, sentence)
    assert len(began) == record.attempts == tries


def test_a_bug_leaves_its_traceback_in_the_record_without_secrets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "sesame-open")

    def work(_run: Run) -> Result:
        raise ZeroDivisionError(f"while using {Secret(env='PASSWORD').reveal()}")

    record = only(run_job(job(work), ENV, store, Options()))
    body = store.get(record_keys(store, "staging")[0]).body.decode()
    assert "Traceback" in body
    assert "in work" in body
    assert "sesame" not in body + record.sentence
    assert "while using ***" in record.sentence


def test_the_log_of_a_run_is_kept_to_its_last_lines(store: Store) -> None:
    def work(run: Run) -> Result:
        for line in range(250):
            run.log.info("line", number=line, long="x" * 2_500)
        return done(run)

    record = only(run_job(job(work), ENV, store, Options()))
    kept = next(records(store, "staging")).log
    assert 200 >= len(kept) >= 190
    assert max(map(len, kept)) <= 2000
    assert record.sentence == "all is well"


def test_a_run_past_its_time_limit_is_ended_with_its_processes(store: Store) -> None:
    started = []

    def work(run: Run) -> Result:
        started.append(run.process(["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"]))
        started[0].wait()
        return done(run)

    begun = time.monotonic()
    short = job(work, limit=lambda _e, _s: timedelta(seconds=0.2))
    record = only(run_job(short, ENV, store, Options(), patience=QUICK))
    assert record.stopped == "stopped by its time limit of 0:00:00.200000"
    assert started[0].wait() == -9
    assert time.monotonic() - begun < 3


def test_work_that_does_not_come_back_is_left_behind_with_a_record(tmp_path: Path) -> None:
    def program() -> int:
        def hangs(run: Run) -> Result:
            time.sleep(60)
            return done(run)

        hung = job(hangs, limit=lambda _e, _s: timedelta(seconds=0.1))
        return exit_code(run_job(hung, ENV, store_in(tmp_path), Options(), patience=QUICK), scheduled=True)

    with process(program) as pid:
        until(lambda: list(tmp_path.glob("staging/runs/backup/shop/*.json")))
        assert code_of(pid) == 1
    record = next(records(store_in(tmp_path), "staging"))
    assert "did not end within 0.6 s and was left behind" in record.sentence
    assert live_holders(store_in(tmp_path), "staging", datetime.now(UTC)) == {}


def test_a_lock_that_is_taken_away_stops_the_run_which_leaves_the_new_one_alone(store: Store) -> None:
    key = "staging/locks/backup/shop.json"

    def work(run: Run) -> Result:
        thief = Holder("20260101T000000Z-thief", "elsewhere", 1, datetime.now(UTC), 60)
        store.put(key, holder_to(thief))
        while True:
            threading.Event().wait(0.01)
            run.check()

    record = only(run_job(job(work, lease=lease(0.4)), ENV, store, Options(), patience=QUICK))
    assert record.outcome is Outcome.FAILED
    assert "its lock was lost: backup/shop was taken by run 20260101T000000Z-thief on elsewhere" in record.sentence
    assert json.loads(store.get(key).body)["run"] == "20260101T000000Z-thief"


def test_a_held_lock_is_told_with_holder_since_when_and_the_way_out(store: Store) -> None:
    lock = Lock("staging", "backup/shop", ENV.timezone, store, lambda: datetime.now(UTC))
    acquire(lock, Holder("r1", "runner-2", 7, NOON, 60), lambda _s: None, None, patient=False)  # type: ignore[arg-type]
    record = only(run_job(job(done), ENV, store, Options(), now=lambda: NOON + timedelta(seconds=12)))
    assert record.outcome is Outcome.HELD
    assert record.sentence == (
        "staging: lock backup/shop is held by runner-2 since 12:00:00 (alive, renewed 12 s ago); "
        "it ends by itself, or: crew runs staging backup shop"
    )
    assert list(live_holders(store, "staging", NOON)) == ["backup/shop"]
    assert list(records(store, "staging")) == []


def test_a_dry_run_leaves_nothing_in_the_store(store: Store) -> None:
    record = only(run_job(job(done), ENV, store, Options(dry_run=True)))
    assert record.outcome is Outcome.DONE
    assert list(store.list()) == []


class Away:
    """A store that is out of reach for what it is told to be."""

    def __init__(self, store: Store, *away: str) -> None:
        self._store, self._away = store, away

    def __getattr__(self, name: str) -> object:
        if name in self._away:
            raise OutOfReach("s3.example did not answer; try again later")
        return getattr(self._store, name)


@pytest.mark.parametrize(("away", "says"), [(["require_conditions"], "s3.example"), (["put"], "could not be written")])
def test_a_store_that_is_away_fails_the_run_and_is_said(store: Store, away: list[str], says: str) -> None:
    record = only(run_job(job(done), ENV, Away(store, *away), Options(), patience=QUICK))  # type: ignore[arg-type]
    assert record.outcome is Outcome.FAILED
    assert says in record.sentence


def test_alone_gives_steps_processes_and_an_end_that_leaves_none(store: Store) -> None:
    with unrecorded_run(ENV, store, "restore", "shop") as run, run.step("sleep"):
        sleeping = run.process(["sleep", "60"])
        run.progress("data-1", 5, 10)
    assert sleeping.returncode == -15
    assert list(store.list()) == []


def test_alone_a_signal_ends_the_processes_and_says_so(tmp_path: Path) -> None:
    def program() -> int:
        try:
            with unrecorded_run(ENV, store_in(tmp_path), "restore", "shop") as run:
                sleeping = run.process(["sleep", "60"])
                (tmp_path / "begun").touch()
                raise Failed(f"sleep ended with {sleeping.wait()}")
        except Stopped as stopped:
            return 7 if str(stopped) == "stopped by SIGTERM" else 8

    with process(program) as pid:
        until((tmp_path / "begun").exists)
        os.kill(pid, signal.SIGTERM)
        assert code_of(pid) == 7


@pytest.mark.parametrize(("enough", "tries"), [(math.inf, 4), (0, 1)])
def test_what_may_pass_is_tried_again_until_it_took_long_enough(enough: float, tries: int) -> None:
    begun: list[int] = []

    def away() -> None:
        begun.append(1)
        raise OutOfReach("no answer")

    with pytest.raises(OutOfReach):
        retry(away, (0, 0, 0), lambda _: None, jobs.log.get(), enough)
    assert len(begun) == tries
