"""Run records in the store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run import Failed, Options, Outcome, Result, records, run_job
from jobs.run.documents import key_time
from jobs.run.holders import read_holders
from jobs.run.lease import holder_to
from jobs.run.record import find_record, record_from, record_keys, record_to
from jobs.store import Store
from tests.parts import runs
from tests.parts.runs import CountingStore, done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
SCHEDULED = Options(scheduled=True)
ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    clock = iter([NOON, NOON + timedelta(days=3)])
    for at in clock:
        run_job(job(done, line="0 12 * * *"), ENV, store, SCHEDULED, now=runs.clock(at))
    record = next(records(store, "staging"))
    assert record.missed
    assert record.missed.ticks == 2
    assert record_from("key", record_to(record)) == record


def test_a_record_keeps_half_of_a_character(store: Store) -> None:
    run_job(job(lambda _run: Result(Outcome.FAILED, "a \ud800 b")), ENV, store, Options())
    assert next(records(store, "staging")).sentence == "a \ud800 b"


def test_records_are_listed_newest_first_and_read_only_when_needed(store: Store) -> None:
    for day in (3, 1, 2):
        at = NOON.replace(day=day)
        run_job(job(done), ENV, store, Options(), now=runs.clock(at))
    assert [r.started.day for r in records(store, "staging", "backup", "shop")] == [3, 2, 1]
    store.put([*record_keys(store, "staging")][2].key, b"broken")
    assert next(records(store, "staging")).started.day == 3


def test_other_files_are_no_records(store: Store) -> None:
    run = "20261121T110300Z-3f9a21"
    for name in ("notes.txt", f"20261121/{run}.json", f"20261121/{run}.backup.done.shop.json.swp", "latest.json"):
        store.put(f"staging/runs/{name}", b"hello")
    assert list(record_keys(store, "staging")) == []


def test_a_newer_format_is_an_error(store: Store) -> None:
    run_job(job(done), ENV, store, Options())
    (key,) = record_keys(store, "staging")
    store.put(key.key, b'{"format": 2}')
    with pytest.raises(Failed, match="has format 2; this version of groundcrew reads format 1; upgrade groundcrew"):
        list(records(store, "staging"))


def test_keys_are_listed_back_to_a_time_and_of_a_subject(store: Store) -> None:
    for days in (0, 5, 20, 90, 500):
        at = NOON - timedelta(days=days)
        run_job(job(done, "shop", "a/b"), ENV, store, Options(), now=runs.clock(at))
    keys = record_keys(store, "staging", "backup", "a/b", now=NOON, since=NOON - timedelta(days=90))
    assert [(NOON - key_time(key.run)).days for key in keys] == [0, 5, 20, 90]
    assert len(list(record_keys(store, "staging", now=NOON - timedelta(days=30)))) == 10, "also what is dated ahead"


def test_a_run_has_one_record_and_its_own_result_counts(store: Store) -> None:
    run_job(job(done), ENV, store, Options(), now=lambda: NOON)
    (record,) = records(store, "staging")
    for outcome in (Outcome.DIED, Outcome.RUNNING):
        twin = replace(record, outcome=outcome)
        store.put(twin.key, record_to(twin))
    assert list(records(store, "staging")) == [record]
    assert find_record(store, "staging", record.run) == record
    assert find_record(store, "staging", record.run[:-1]) is None
    store.delete([record.key])
    assert [each.outcome for each in records(store, "staging")] == [Outcome.DIED]


def test_locks_are_read_from_a_snapshot_unless_they_changed(store: Store) -> None:
    run_job(job(done, "a", "b", "c"), ENV, store, Options(), now=lambda: NOON)
    counted = CountingStore(store)
    before = read_holders(counted, "staging")
    assert set(before) == {"backup/a", "backup/b", "backup/c"}
    assert counted.requests == ["list staging/locks/", "get staging/runs/latest.json"]
    key = "staging/locks/backup/b.json"
    store.put(key, holder_to(replace(before["backup/b"], run="r2", released=None)))
    store.put("staging/locks/backup/d.json", holder_to(before["backup/c"]))
    counted.requests.clear()
    assert read_holders(counted, "staging")["backup/b"].run == "r2"
    assert counted.requests[2:] == [f"get {key}", "get staging/locks/backup/d.json"]
    for damage in (b"", b"null", b'{"format": 1, "locks": 3}', b'{"format": 9}'):
        store.put("staging/runs/latest.json", damage)
        assert set(read_holders(counted, "staging")) == {"backup/a", "backup/b", "backup/c", "backup/d"}


def test_details_are_for_the_caller_and_not_stored(store: Store) -> None:
    details = object()
    work = job(lambda _run: Result(Outcome.DONE, "all is well", details=details))
    (record,) = run_job(work, ENV, store, Options())
    assert record.details is details
    assert next(records(store, "staging")).details is None
