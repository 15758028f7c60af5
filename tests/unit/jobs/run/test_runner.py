"""What run_job() does from the lock to the exit code."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import jobs.log
from inventories import BadEnvironment, Secret
from jobs.run import (
    Failed,
    Options,
    Outcome,
    Record,
    Result,
    Run,
    Transient,
    exit_code,
    records,
    run_job,
)
from jobs.run.holders import live_holders, read_holders
from jobs.run.latest import NO_RUNS
from jobs.run.lease import Holder, Lock, acquire, holder_to
from jobs.run.record import find_record, record_keys
from jobs.run.runner import MANY_SUBJECTS, retry
from jobs.store import OutOfReach, Store
from tests.parts.patience import deadline, until
from tests.parts.runs import (
    NEVER_ABANDONED,
    QUICK,
    CountingStore,
    clock,
    code_of,
    done,
    environment,
    job,
    lease,
    process,
    store_in,
)

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
SCHEDULED = Options(scheduled=True)
ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def only(found: list[Record]) -> Record:
    """Return the only record."""
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
def test_the_exit_code_is_of_the_worst_outcome_and_for_schedulers_of_failures_only(
    store: Store, outcomes: list[str], by_hand: int, scheduled: int
) -> None:
    record = only(run_job(job(done), ENV, store, Options()))
    ended = [replace(record, outcome=Outcome(outcome)) for outcome in outcomes]
    assert exit_code(ended, scheduled=False) == by_hand
    assert exit_code(ended, scheduled=True) == scheduled


def test_an_error_of_several_lines_becomes_one_sentence(store: Store) -> None:
    def work(_run: Run) -> Result:
        raise BadEnvironment("staging.toml: a is missing", "staging.toml: b is missing")

    record = only(run_job(job(work), ENV, store, Options()))
    assert record.sentence == "staging.toml: a is missing; staging.toml: b is missing"


def test_a_subject_that_waits_for_a_lock_lets_the_others_run(store: Store) -> None:
    names = [f"db-{number}" for number in range(5)]
    locks = [Lock("staging", "backup", name, ENV.timezone, store, lambda: datetime.now(UTC)) for name in names[:-1]]
    held = [
        acquire(lock, Holder("r1", "runner-2", 7, lock.now(), deadline(4)), time.sleep, jobs.log.get(), patient=False)
        for lock in locks
    ]
    order = []

    def work(run: Run) -> Result:
        order.append(run.subject)
        if run.subject == names[-1]:  # without its run, the others wait until the leases expire
            for lease in held:
                lease.release()
        return Result(Outcome.DONE, "done")

    ended = run_job(job(work, *names, max_parallel=1), ENV, store, SCHEDULED)
    assert [record.outcome for record in ended] == [Outcome.DONE] * 5
    assert [record.took_over for record in ended] == [None] * 5
    assert order[0] == names[-1]


def test_subjects_run_in_parallel_up_to_the_limit_of_the_job(store: Store) -> None:
    running, most, two = set[str](), list[int](), threading.Barrier(2, timeout=deadline(10))

    def work(run: Run) -> Result:
        running.add(run.subject)
        most.append(len(running))
        two.wait()
        running.discard(run.subject)
        return done(run)

    ended = run_job(job(work, "a", "b", "c", "d", max_parallel=2), ENV, store, Options())
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


def test_a_complete_tick_is_not_run_again(store: Store) -> None:
    ran = []

    def work(run: Run) -> Result:
        ran.append(run.tick)
        return done(run)

    daily = job(work, line="0 12 * * *")
    for seconds in (-40, 0, 5, 3600):
        run_job(daily, ENV, store, SCHEDULED, now=clock(NOON + timedelta(seconds=seconds)))
    assert ran == [NOON]
    assert read_holders(store, "staging")["backup/shop"].runs.ticks == (NOON,)
    run_job(daily, ENV, store, Options(), now=lambda: NOON)
    assert ran == [NOON, None], "by hand a run always runs"


def test_a_tick_that_failed_is_tried_again_and_counts_its_attempts(store: Store) -> None:
    ended = iter([Result(Outcome.FAILED, "no"), Result(Outcome.DONE, "yes")])
    daily = job(lambda _run: next(ended), line="0 12 * * *")
    first, second = (only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON)) for _ in range(2))
    assert (first.attempts, second.attempts) == (1, 2)
    assert {r.sentence for r in records(store, "staging")} == {"yes", "no"}, "each try stays readable"


@pytest.mark.parametrize(
    ("error", "tries", "sentence"),
    [
        (Transient("the network"), 3, "the network"),
        (OutOfReach("the store is away"), 3, "the store is away"),
        (Failed("bad password"), 1, "bad password"),
        (ZeroDivisionError("oops"), 1, "a bug: ZeroDivisionError: oops; its traceback is in the log"),
    ],
)
def test_only_retryable_errors_are_tried_again(store: Store, error: Exception, tries: int, sentence: str) -> None:
    attempts = []

    def work(_run: Run) -> Result:
        attempts.append(1)
        raise error

    record = only(run_job(job(work), ENV, store, Options(), timeouts=QUICK))
    assert (record.outcome, record.sentence) == (Outcome.FAILED, sentence)
    assert len(attempts) == record.attempts == tries


def test_a_bug_leaves_its_traceback_in_the_record_without_secrets(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "sesame-open")

    def work(_run: Run) -> Result:
        raise ZeroDivisionError(f"while using {Secret(env='PASSWORD').reveal()}")

    record = only(run_job(job(work), ENV, store, Options()))
    body = store.get(next(record_keys(store, "staging")).key).body.decode()
    assert "Traceback" in body
    assert "in work" in body
    assert "sesame" not in body + record.sentence
    assert "while using ***" in record.sentence


def test_a_run_past_its_time_limit_is_stopped_with_its_processes(store: Store) -> None:
    started = []

    def work(run: Run) -> Result:
        started.append(run.process(["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"]))
        started[0].wait()
        return done(run)

    before = time.monotonic()
    short = job(work, limit=lambda _environment, _subject: timedelta(seconds=2))
    record = only(run_job(short, ENV, store, Options(), timeouts=NEVER_ABANDONED))
    assert record.stopped == "stopped by its time limit of 0:00:02"
    assert started[0].wait() == -9
    assert time.monotonic() - before < deadline(4)


def test_work_that_does_not_stop_is_abandoned_with_a_record(tmp_path: Path) -> None:
    def program() -> int:
        def hangs(run: Run) -> Result:
            time.sleep(60)
            return done(run)

        hung = job(hangs, limit=lambda _environment, _subject: timedelta(seconds=0.1))
        return exit_code(run_job(hung, ENV, store_in(tmp_path), Options(), timeouts=QUICK), scheduled=True)

    with process(program) as pid:
        until(lambda: list(tmp_path.glob("staging/runs/*/*.backup.*.shop.json")))
        assert code_of(pid) == 1
    record = next(records(store_in(tmp_path), "staging"))
    assert "the work did not stop within 0.6 s and was abandoned" in record.sentence
    assert live_holders(store_in(tmp_path), "staging", datetime.now(UTC)) == {}


def test_a_stolen_lock_stops_the_run_and_the_run_leaves_the_new_lock_alone(store: Store) -> None:
    key = "staging/locks/backup/shop.json"

    def work(run: Run) -> Result:
        thief = Holder("20260101T000000Z-thief", "elsewhere", 1, datetime.now(UTC), 60)
        store.put(key, holder_to(thief))
        while True:
            threading.Event().wait(0.01)
            run.check()

    record = only(run_job(job(work, lease=lease(0.4)), ENV, store, Options(), timeouts=QUICK))
    assert record.outcome is Outcome.FAILED
    assert "its lock was lost: backup/shop was taken by run 20260101T000000Z-thief on elsewhere" in record.sentence
    assert json.loads(store.get(key).body)["run"] == "20260101T000000Z-thief"


def test_a_held_lock_is_reported_with_holder_time_and_remedy(store: Store) -> None:
    lock = Lock("staging", "backup", "shop", ENV.timezone, store, lambda: datetime.now(UTC))
    acquire(lock, Holder("r1", "runner-2", 7, NOON, 60), lambda _s: None, None, patient=False)  # type: ignore[arg-type]
    record = only(run_job(job(done), ENV, store, Options(), now=lambda: NOON + timedelta(seconds=12)))
    assert record.outcome is Outcome.HELD
    assert record.sentence == (
        "staging: lock backup/shop is held by runner-2 since 12:00:00 (alive, renewed 12 s ago). "
        "Wait for it, or see: crew runs staging backup shop"
    )
    assert list(live_holders(store, "staging", NOON)) == ["backup/shop"]
    assert list(records(store, "staging")) == []


def test_a_failed_catch_up_run_is_the_last_run_and_keeps_its_record(store: Store) -> None:
    results = iter(
        [Result(Outcome.DONE, "by hand"), Result(Outcome.FAILED, "no route"), Result(Outcome.DONE, "better")]
    )
    daily = job(lambda _run: next(results), line="0 12 * * *")
    by_hand = only(run_job(daily, ENV, store, Options(), now=lambda: NOON + timedelta(hours=3)))
    failed = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON + timedelta(hours=4)))
    runs = read_holders(store, "staging")["backup/shop"].runs
    assert (runs.last, runs.problem_since) == (failed.summary, failed.ended)
    again = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON + timedelta(hours=5)))
    assert read_holders(store, "staging")["backup/shop"].runs.last == again.summary
    assert (failed.tick, again.tick, again.attempts) == (NOON, NOON, 2)
    assert [record.run for record in records(store, "staging")] == [again.run, failed.run, by_hand.run]
    found = find_record(store, "staging", failed.run)
    assert found
    assert found.summary == failed.summary


def test_a_complete_tick_stays_complete_after_a_failed_run_by_hand(store: Store) -> None:
    results = iter([Result(Outcome.DONE, "tick"), Result(Outcome.FAILED, "by hand")])
    daily = job(lambda _run: next(results), line="0 12 * * *")
    run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON)
    run_job(daily, ENV, store, Options(), now=lambda: NOON + timedelta(hours=1))
    skipped = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON + timedelta(hours=2)))
    assert skipped.sentence.endswith(": tick")


def test_a_scheduled_run_that_is_not_run_again_says_which_run_did_it(store: Store) -> None:
    daily = job(lambda _run: Result(Outcome.DONE, "set x"), line="0 12 * * *")
    first = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON))
    again = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON + timedelta(hours=2)))
    assert (again.run, again.sentence) == (
        first.run,
        f"already ran for 12:00: run {first.run}, ended at 12:00: set x",
    )
    assert [record.sentence for record in records(store, "staging")] == ["set x"]


def test_a_scheduled_run_makes_the_same_few_requests_whatever_its_past(store: Store) -> None:
    counted = CountingStore(store)
    made = []
    for day in (0, 1, 2, 700):
        at = NOON + timedelta(days=day)
        counted.requests.clear()
        run_job(job(done, line="0 12 * * *"), ENV, counted, SCHEDULED, now=clock(at))
        made.append([request.split("/")[0] + " " + request.split("/")[1] for request in counted.requests])
    per_subject = ["get staging locks", "replace staging locks", "put staging runs", "replace staging locks"]
    per_process = ["list staging locks", "get staging runs", "put staging runs"]
    assert made[1] == made[2] == made[3] == per_subject + per_process


def test_a_run_of_many_subjects_reads_no_lock_that_has_not_changed(store: Store) -> None:
    counted, names = CountingStore(store), [f"db-{number}" for number in range(5)]
    work = job(lambda run: Result(Outcome.DONE, str(len(run.earlier_figures)), {"rows": 1}), *names, compared=("rows",))
    run_job(work, ENV, counted, Options())
    changed = "staging/locks/backup/db-3.json"
    store.put(changed, store.get(changed).body)
    store.delete(["staging/locks/backup/db-4.json"])
    counted.requests.clear()
    ended = run_job(work, ENV, counted, Options())
    assert [record.outcome for record in ended] == [Outcome.DONE] * len(names)
    assert [record.sentence for record in ended] == ["0" if name == "db-4" else "1" for name in names]
    assert sorted(each for each in counted.requests if "get staging/locks" in each) == [
        "get staging/locks/backup/db-3.json",
        "get staging/locks/backup/db-4.json",
    ]


def test_many_subjects_run_without_a_snapshot_of_their_locks(store: Store) -> None:
    work = job(done, *(f"db-{number}" for number in range(MANY_SUBJECTS)))
    run_job(work, ENV, store, Options())
    key = "staging/locks/backup/db-1.json"
    free = store.get(key).body.decode()
    damages = [["1", "{}"], ["1", "\ud800"], ["\n", free], ["", free], ['"', free], ["é", free], ["1", free], ["1"], 1]
    for locks in (1, *({key: damage} for damage in damages)):
        store.put("staging/runs/latest.json", json.dumps({"format": 1, "locks": locks}).encode())
        ended = run_job(work, ENV, store, Options())
        assert {record.outcome for record in ended} == {Outcome.DONE}


def test_a_snapshot_that_calls_a_held_lock_free_frees_nothing(store: Store) -> None:
    names = [f"db-{number}" for number in range(MANY_SUBJECTS)]
    run_job(job(done, *names), ENV, store, Options())
    lock = Lock("staging", "backup", names[0], ENV.timezone, store, lambda: datetime.now(UTC))
    holder = Holder("r1", "runner-2", 7, lock.now(), 60)
    acquire(lock, holder, time.sleep, jobs.log.get(), patient=False)
    ended = run_job(job(done, *names), ENV, store, Options())
    assert [record.outcome for record in ended] == [Outcome.HELD] + [Outcome.DONE] * (len(names) - 1)
    assert lock.read()[0].run == "r1"


def test_subjects_that_share_turns_run_beside_others(store: Store) -> None:
    """Of two turns, four small subjects take half a turn each; a big one, and one without a past, take a whole turn."""
    names = ["big", *(f"small-{number}" for number in range(10))]
    running, seen, four = set[str](), list[set[str]](), threading.Barrier(4, timeout=deadline(10))

    def share(_environment: object, subject: str, earlier: Sequence[Mapping[str, object]]) -> Fraction:
        return Fraction(1, 2) if earlier and subject != "big" else Fraction(1)

    def work(run: Run) -> Result:
        running.add(run.subject)
        seen.append(set(running))
        assert run.turn_share == share(ENV, run.subject, run.earlier_figures)
        if run.earlier_figures and run.subject in names[3:7]:
            four.wait()
        running.discard(run.subject)
        return Result(Outcome.DONE, "done", {"rows": 1})

    sharing = job(work, *names, compared=("rows",), turn_share=share)
    run_job(sharing, ENV, store, Options())
    assert max(map(len, seen)) <= 2, "nothing is known of their past"
    seen.clear()
    assert {record.outcome for record in run_job(sharing, ENV, store, Options())} == {Outcome.DONE}
    assert max(map(len, seen)) == 4
    assert all(len(each) <= 3 for each in seen if "big" in each)


def test_a_job_can_compare_its_figures_with_those_of_earlier_runs(store: Store) -> None:
    seen: list[object] = []

    def work(run: Run) -> Result:
        seen.append(run.earlier_figures)
        return Result(Outcome.DONE, "done", {"rows": len(seen), "seconds": 3} if len(seen) != 2 else {})

    for _ in range(14):
        run_job(job(work, compared=("rows", "bytes")), ENV, store, Options())
    assert seen[:3] == [(), ({"rows": 1},), ({"rows": 1},)]
    assert seen[13] == tuple({"rows": rows} for rows in range(13, 3, -1))


def test_a_run_that_was_killed_leaves_a_record(store: Store) -> None:
    key, late = "staging/locks/backup/shop.json", NOON + timedelta(minutes=10)
    dead = Holder("20260505T100000Z-dead00", "runner-2", 7, NOON, 0.01, NOON, user="anna", command="crew run backup x")
    store.put(key, holder_to(dead))
    record = only(run_job(job(done, line="0 12 * * *"), ENV, store, SCHEDULED, now=lambda: late))
    assert (record.outcome, record.attempts) == (Outcome.DONE, 2)
    died = next(each for each in records(store, "staging") if each.run == dead.run)
    assert (died.outcome, died.user, died.command, died.tick) == (Outcome.DIED, "anna", "crew run backup x", NOON)
    assert "on runner-2 (pid 7) was killed or crashed" in died.sentence


def test_a_run_that_was_killed_after_it_wrote_its_record_is_complete(store: Store) -> None:
    daily, key = job(done, line="0 12 * * *"), "staging/locks/backup/shop.json"
    first = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON))
    holder = read_holders(store, "staging")["backup/shop"]
    store.put(key, holder_to(replace(holder, released=None, seconds=0.01, runs=NO_RUNS)))
    again = only(run_job(daily, ENV, store, SCHEDULED, now=lambda: NOON + timedelta(minutes=9)))
    assert again.run == first.run
    assert [record.run for record in records(store, "staging")] == [first.run]
    assert read_holders(store, "staging")["backup/shop"].runs.last == first.summary


def test_a_clock_that_was_wrong_for_one_run_stops_no_later_run(store: Store) -> None:
    daily = job(done, line="0 12 * * *")
    ran = [only(run_job(daily, ENV, store, SCHEDULED, now=clock(NOON + timedelta(days=day)))) for day in (0, 400, 1)]
    assert len({record.run for record in ran}) == 3
    runs = read_holders(store, "staging")["backup/shop"].runs
    assert runs.last == ran[2].summary
    assert runs.ticks == (NOON + timedelta(days=1), NOON)
    assert ran[2].missed is None


def test_a_dry_run_leaves_nothing_in_the_store(store: Store) -> None:
    record = only(run_job(job(done), ENV, store, Options(dry_run=True)))
    assert record.outcome is Outcome.DONE
    assert list(store.list()) == []


class PartlyUnreachable:
    """A store of which some methods are out of reach."""

    def __init__(self, store: Store, *unreachable: str) -> None:
        self._store, self._unreachable = store, unreachable

    def __getattr__(self, name: str) -> object:
        if name in self._unreachable:
            raise OutOfReach("s3.example did not answer; try again later")
        return getattr(self._store, name)


@pytest.mark.parametrize(
    ("methods", "sentence"), [(["require_conditional_writes"], "s3.example"), (["put"], "could not be written")]
)
def test_an_unreachable_store_fails_the_run_with_a_reason(store: Store, methods: list[str], sentence: str) -> None:
    broken: Any = PartlyUnreachable(store, *methods)
    record = only(run_job(job(done), ENV, broken, Options(), timeouts=QUICK))
    assert record.outcome is Outcome.FAILED
    assert sentence in record.sentence


@pytest.mark.parametrize(("give_up_after", "tries"), [(math.inf, 4), (0, 1)])
def test_a_retry_gives_up_after_some_time(give_up_after: float, tries: int) -> None:
    attempts: list[int] = []

    def unreachable() -> None:
        attempts.append(1)
        raise OutOfReach("no answer")

    with pytest.raises(OutOfReach):
        retry(unreachable, (0, 0, 0), lambda _: None, jobs.log.get(), give_up_after)
    assert len(attempts) == tries
