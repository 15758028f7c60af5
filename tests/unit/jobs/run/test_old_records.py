"""Old run records are removed, and the newest of each subject stays."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run import Options, records, run_job
from jobs.run.holders import read_holders
from jobs.run.old_records import remove_old_records
from jobs.store import Store
from tests.parts.runs import CountingStore, clock, done, environment, job, store_in

NOW = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)
ENV = environment(more='[runs]\nkeep = "30d"\n')


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the records of a frequent job, of a dropped database, and of a job that never ran again."""
    store = store_in(tmp_path / "store")
    for days in (500, 100, 90, 31, 29, 1):
        subjects = ("shop", "dropped") if days > 50 else ("shop",)
        run_job(job(done, *subjects), ENV, store, Options(), now=clock(NOW - timedelta(days=days)))
    return store


def ages(store: Store, subject: str) -> list[int]:
    return [(NOW - record.started).days for record in records(store, "staging", "backup", subject)]


def test_the_newest_record_of_each_subject_stays_whatever_its_age(store: Store) -> None:
    removed, refused = remove_old_records(store, ENV, NOW)
    assert (removed, refused) == (5, [])
    assert ages(store, "shop") == [1, 29, 31], "one old record of each subject stays until the next removal"
    assert ages(store, "dropped") == [90]
    remove_old_records(store, ENV, NOW + timedelta(days=5))
    assert ages(store, "shop") == [1, 29]
    assert remove_old_records(store, ENV, NOW + timedelta(days=900)) == (1, [])
    assert (ages(store, "shop"), ages(store, "dropped")) == ([1], [90])


def test_only_old_records_are_listed_and_the_retention_job_removes_them(store: Store) -> None:
    counted = CountingStore(store)
    remove_old_records(counted, replace(ENV, runs=replace(ENV.runs, keep=timedelta(days=600))), NOW)
    assert counted.requests == ["list staging/runs/"]
    called: list[str] = []
    finishing = job(done, "crm", finish=lambda environment, _store, _log: called.append(environment.name))
    run_job(finishing, ENV, store, Options(dry_run=True))
    assert called == []
    run_job(finishing, ENV, store, Options())
    assert called == ["staging"]
    assert "backup/crm" in read_holders(store, "staging")


def test_an_error_in_the_removal_fails_no_run(store: Store) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    (record,) = run_job(job(done, "crm", finish=breaks), ENV, store, Options())
    assert record.sentence == "all is well"
