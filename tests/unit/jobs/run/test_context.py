"""A run as the work sees it: steps, processes and log."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jobs.run import Failed, Options, Result, Run, Stopped, records, run_job, unrecorded_run
from jobs.store import OutOfReach, Store
from tests.parts.patience import until
from tests.parts.runs import QUICK, CountingStore, code_of, done, environment, job, process, store_in

ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def test_an_unrecorded_run_has_steps_and_processes_and_leaves_none(store: Store) -> None:
    with unrecorded_run(ENV, store, "restore", "shop") as run, run.step("sleep"):
        sleeping = run.process(["sleep", "60"])
        run.progress("data-1", 5, 10)
    assert sleeping.returncode == -15
    assert list(store.list()) == []


class AwayStore(CountingStore):
    """A store that is out of reach when the lock is renewed for the first times."""

    away = 3

    def replace(self, key: str, body: bytes, version: str) -> str:
        if self.away:
            self.away -= 1
            raise OutOfReach("no route")
        return super().replace(key, body, version)


def test_work_waits_until_the_store_answers_and_the_lock_is_renewed(store: Store) -> None:
    away = AwayStore(store)

    def work(run: Run) -> Result:
        run.wait_for_store(1)
        assert away.requests[-1] == "replace staging/locks/backup/shop.json"
        away.requests.clear()
        run.wait_for_store()
        assert away.requests == [], "its lease has not expired"
        return done(run)

    [record] = run_job(job(work), ENV, away, Options(), timeouts=QUICK)
    assert (record.outcome, record.attempts) == ("done", 1), record.sentence
    assert [line.split(" ", 2)[2] for line in record.log if "store" in line][:1] == [
        "waiting for the store why=no route"
    ]
    assert "store answers again" in "".join(record.log)


def test_a_signal_stops_an_unrecorded_run_with_its_processes(tmp_path: Path) -> None:
    def program() -> int:
        try:
            with unrecorded_run(ENV, store_in(tmp_path), "restore", "shop") as run:
                sleeping = run.process(["sleep", "60"])
                (tmp_path / "started").touch()
                raise Failed(f"sleep ended with {sleeping.wait()}")
        except Stopped as stopped:
            return 7 if str(stopped) == "stopped by SIGTERM" else 8

    with process(program) as pid:
        until((tmp_path / "started").exists)
        os.kill(pid, signal.SIGTERM)
        assert code_of(pid) == 7


def test_a_record_keeps_the_last_lines_of_the_log(store: Store) -> None:
    def work(run: Run) -> Result:
        for line in range(250):
            run.log.info("line", number=line, long="x" * 2_500)
        return done(run)

    (record,) = run_job(job(work), ENV, store, Options())
    kept = next(records(store, "staging")).log
    assert 200 >= len(kept) >= 190
    assert max(map(len, kept)) <= 2000
    assert record.sentence == "all is well"
