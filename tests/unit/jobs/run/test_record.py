"""Run records in the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run import Failed, Options, Outcome, Result, records, run_job
from jobs.run.record import latest_records, record_from, record_keys, record_to, tick_of_key
from jobs.store import Store
from tests.parts.runs import done, environment, job, store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
SCHEDULED = Options(scheduled=True)
ENV = environment()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_in(tmp_path / "store")


def test_a_record_is_read_as_it_was_written(store: Store) -> None:
    clock = iter([NOON, NOON + timedelta(days=3)])
    for at in clock:
        run_job(job(done, line="0 12 * * *"), ENV, store, SCHEDULED, now=lambda at=at: at)  # type: ignore[misc]
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
        run_job(job(done), ENV, store, Options(), now=lambda at=at: at)  # type: ignore[misc]
    assert [r.started.day for r in records(store, "staging", "backup", "shop")] == [3, 2, 1]
    store.put(record_keys(store, "staging")[2], b"broken")
    assert next(records(store, "staging")).started.day == 3
    assert [r.started.day for r in latest_records(store, "staging")] == [3]


def test_other_files_are_no_records(store: Store) -> None:
    for name in ("notes.txt", "backup/shop/notes.json", "backup/shop/20261121T110300Z.json.swp"):
        store.put(f"staging/runs/{name}", b"hello")
    assert record_keys(store, "staging") == []


def test_a_newer_format_is_an_error(store: Store) -> None:
    run_job(job(done), ENV, store, Options())
    key = record_keys(store, "staging")[0]
    store.put(key, b'{"format": 2}')
    with pytest.raises(Failed, match="has format 2; this version of groundcrew reads format 1; upgrade groundcrew"):
        list(records(store, "staging"))


@pytest.mark.parametrize(
    ("name", "tick"),
    [
        ("20260505T100000Z.json", NOON),
        ("20260505T100000Z-3f9a01.json", None),
        ("latest.json", None),
    ],
)
def test_only_a_scheduled_run_has_a_tick_in_its_key(name: str, tick: datetime | None) -> None:
    assert tick_of_key(f"staging/runs/backup/shop/{name}") == tick


def test_details_are_for_the_caller_and_not_stored(store: Store) -> None:
    details = object()
    work = job(lambda _run: Result(Outcome.DONE, "all is well", details=details))
    (record,) = run_job(work, ENV, store, Options())
    assert record.details is details
    assert next(records(store, "staging")).details is None
