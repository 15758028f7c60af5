"""The days of a page: kept in a document that can be lost, damaged or refused, and never costs the truth."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from inventories import Environment
from jobs.run import Outcome, Record
from jobs.run.context import new_run_id
from jobs.run.holders import write_snapshot
from jobs.run.latest import NO_RUNS
from jobs.run.lease import Holder, holder_to, lock_key
from jobs.run.record import record_to
from jobs.status.collect import environment_status
from jobs.status.health import Health, HealthState
from jobs.status.history import DayRuns, History, history_key, history_to, read_history
from jobs.status.page import render_page
from jobs.store import Denied, ListedKey, ListedPrefix, ObjectLock, Store
from tests.parts.runs import CountingStore, environment, store_in
from tests.parts.sets import objects

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
MAIN = '[servers.main]\nurl = "postgresql://me@db/postgres"\nbackup = "0 2 * * *"\nverify = "0 5 * * 0"\n'


def record(at: datetime, job: str = "backup", subject: str = "shop", outcome: Outcome = Outcome.DONE) -> Record:
    size = int(1_000_000 + at.timestamp() % 1000)
    return Record(
        environment="staging", job=job, subject=subject, run=new_run_id(at), tick=at, started=at,
        ended=at + timedelta(seconds=31), outcome=outcome, sentence="", figures={"stored_bytes": size, "seconds": 31.0},
        about="", attempts=1, stopped=None, host="a", pid=1, scheduled=True, took_over=None, missed=None, log=(),
    )  # fmt: skip


def fill(store: Store, days: int, databases: int = 1) -> dict[str, Record]:
    """Write the records of some days, each night a backup and each Sunday a verification; return the newest."""
    newest: dict[str, Record] = {}
    for back in range(days, 0, -1):
        at = NOW.replace(hour=1) - timedelta(days=back - 1)
        for number in range(databases):
            jobs = ["backup", *(["verify"] if at.weekday() == 6 else [])]
            for job in jobs:
                one = record(at + timedelta(seconds=number), job, f"main.{number:02}")
                store.put(one.key, record_to(one))
                newest[one.name] = one
    return newest


def lock_of(one: Record) -> bytes:
    runs = replace(NO_RUNS.with_run(one.summary, one.figures), first=NOW - timedelta(days=100))
    return holder_to(Holder(one.run, "a", 1, one.started, 60, released=one.ended, runs=runs))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(os, "fsync", lambda _file: None)  # thousands of files that no crash has to spare
    return store_in(tmp_path / "store")


@pytest.fixture
def of_main() -> Environment:
    return environment(more=MAIN)


def days_of(of_main: Environment, store: Store, now: datetime = NOW) -> dict[date, DayRuns]:
    return dict(read_history(of_main, store, [], now).get("main.00", {}))


def test_days_come_from_records_and_later_pages_list_only_the_last_eight(store: Store, of_main: Environment) -> None:
    fill(store, 95)
    counted = CountingStore(store)
    first = days_of(of_main, counted)
    assert (min(first), max(first), len(first)) == (date(2026, 8, 24), date(2026, 11, 21), 90)
    assert all(runs.backups == 1 and runs.seconds == 31.0 for runs in first.values())
    assert sum(runs.verifications for runs in first.values()) == 12
    counted.requests.clear()
    assert days_of(of_main, counted) == first
    assert {each.split("/")[0] for each in counted.requests} == {"get staging", "list staging"}
    assert len(counted.requests) <= 5


def test_a_lost_or_damaged_document_costs_requests_and_no_fact(store: Store, of_main: Environment) -> None:
    fill(store, 30)
    first = days_of(of_main, store)
    for body in (
        b"",
        b"{",
        b'{"format": 9}',
        b'{"format": 1, "zone": "Europe/Berlin", "databases": {"x": {"y": "z"}}}',
    ):
        store.put(history_key("staging"), body)
        assert days_of(of_main, store) == first


def test_another_timezone_counts_the_days_again(store: Store, of_main: Environment) -> None:
    one = record(NOW.replace(hour=23) - timedelta(days=20), subject="main.00")
    store.put(one.key, record_to(one))
    assert list(days_of(of_main, store)) == [date(2026, 11, 2)]
    utc = replace(of_main, environment=replace(of_main.environment, timezone=ZoneInfo("UTC")))
    assert list(days_of(utc, store)) == [date(2026, 11, 1)]


def test_a_store_that_cannot_be_written_gives_the_same_days(store: Store, of_main: Environment) -> None:
    fill(store, 30)

    class ReadOnlyStore(CountingStore):
        def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
            raise Denied(f"{key}: read-only {len(body)} {lock}")

    assert days_of(of_main, ReadOnlyStore(store)) == days_of(of_main, store)


def test_a_run_that_is_recorded_days_later_is_shown(store: Store, of_main: Environment) -> None:
    fill(store, 30)
    days_of(of_main, store)
    late = record(NOW - timedelta(days=6), subject="main.00", outcome=Outcome.DIED)
    store.put(late.key, record_to(late))
    day = days_of(of_main, store)[date(2026, 11, 15)]
    assert (day.backups, day.failed_backups, day.backup_failed) == (1, 1, True)


def test_the_lock_has_the_size_of_the_newest_run(store: Store, of_main: Environment) -> None:
    newest = fill(store, 1)["backup/main.00"]
    health = Health("backup", "main.00", HealthState.OK, NOW, "", newest.summary, figures=newest.figures)
    counted = CountingStore(store)
    (day,) = read_history(of_main, counted, [health], NOW)["main.00"].values()
    assert day.stored_bytes == newest.figures["stored_bytes"]
    assert not any(".backup." in each for each in counted.requests)


def test_sixty_databases_need_few_requests_and_fit_on_one_page(store: Store, of_main: Environment) -> None:
    newest = fill(store, 9, databases=60)
    locks = {lock_key("staging", one.job, one.subject): lock_of(one) for one in newest.values()}
    write_snapshot(store, "staging", {key: (store.put(key, body), body) for key, body in locks.items()})
    for number in range(60):
        for key in objects(NOW.replace(hour=1), environment="staging", database=f"main.{number:02}"):
            store.put(key, b"")
    store.put(history_key("staging"), history_to(History("Europe/Berlin", date(2026, 11, 14), full_history())))
    environment_status(of_main, store, NOW)  # reads what a page before it would have read
    counted = PagedStore(store)
    status = environment_status(of_main, counted, NOW)
    assert len(status.databases) == 60
    assert len(counted.requests) <= 50, counted.requests
    page = render_page([status], NOW)
    assert len(page.encode()) < 300_000
    assert page.count("<svg class=strip") == page.count("<svg class=trend") / 2 == 60
    assert status.databases[0].newest_size == status.databases[0].days[date(2026, 11, 21)].stored_bytes


def full_history() -> dict[str, dict[date, DayRuns]]:
    """Return 90 days of 60 databases: sizes that vary, verified on Sundays, failed and missing days."""

    def runs(number: int, day: date) -> DayRuns:
        is_verified, has_failed = day.weekday() == 6, (day.toordinal() + number) % 45 == 0
        return DayRuns(
            0 if has_failed else 1, int(has_failed), has_failed, int(is_verified), 0, False,
            "" if has_failed else f"{day:%Y%m%d}T010000Z-abcdef", 1_000_000 * (day.toordinal() % 17 + 90 + number),
            20 + (day.toordinal() * 7 + number) % 13,
        )  # fmt: skip

    days = [date(2026, 11, 13) - timedelta(days=back) for back in range(83)]
    return {f"main.{number:02}": {day: runs(number, day) for day in days if day.day != 5} for number in range(60)}


class PagedStore(CountingStore):
    """A store that counts its requests as S3 does: one for each 1,000 keys of a listing."""

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        for number, entry in enumerate(super().list(prefix, start_after, limit)):
            if number and number % 1000 == 0:
                self.requests.append(f"list {prefix}")
            yield entry

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        self.requests.append(f"folders {prefix}")
        return super().folders(prefix)
