"""Backups into S3 over a faulty connection: they go on where it broke off; a set is complete or does not exist."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.backup.sets.stored import open_set, read_part
from jobs.backup.take.dump import PartStream
from jobs.backup.take.job import BACKUP
from jobs.run import run_job
from jobs.run.job import Options, Outcome
from jobs.run.lease import read_holder
from jobs.store import open_store
from tests.parts.backups import NO_RETRIES, DiscardingSink, Team, section, team
from tests.parts.patience import until
from tests.parts.postgres import Database
from tests.parts.proxy import Proxy
from tests.parts.s3 import Bucket, with_object_lock

MakeProxy = Callable[..., Proxy]

EXPIRED = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredToken</Code>'
    b"<Message>The provided token has expired.</Message></Error>"
)


@pytest.fixture(scope="module")
def noise(postgres: Callable[[int], object]) -> Database:
    """A database of 45 MB of random bytes, which need several parts of an upload."""
    server = postgres(16)
    database = Database(server, "noise")  # type: ignore[arg-type]
    with server.connect() as connection:  # type: ignore[attr-defined]
        connection.execute("CREATE DATABASE noise")
    with database.connect() as connection:
        connection.execute("CREATE TABLE noise (a bytea)")
        connection.execute("ALTER TABLE noise ALTER a SET STORAGE EXTERNAL")
        with connection.cursor().copy("COPY noise FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["bytea"])
            for _ in range(45):
                copy.write_row([os.urandom(1 << 20)])
    return database


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between botocore's tries."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.02)


@pytest.fixture
def dumps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each part was dumped."""
    counter, real = Counter[str](), PartStream.dump

    def dump(stream: PartStream, planned: Any, *others: Any) -> Any:
        counter[planned.name] += 1
        return real(stream, planned, *others)

    monkeypatch.setattr(PartStream, "dump", dump)
    return counter


def staging(folder: Path, database: Database, bucket: Bucket, *, parallel: int = 1, **store: object) -> Team:
    return team(folder, section("shop", database.url, f"parallel = {parallel}"), bucket, **store)


def is_whole(team: Team) -> bool:
    [backup_set] = [each for each in team.sets() if each.complete]
    stored = open_set(team.store, backup_set, team.environment.store.decrypt_with)  # type: ignore[union-attr]
    for part in stored.manifest.parts:
        read_part(stored, part, DiscardingSink())
    return stored.description.rows == 45


def test_an_upload_survives_bursts_of_503_and_a_cut_connection(
    noise: Database, seaweed: Bucket, proxy: MakeProxy, tmp_path: Path
) -> None:
    faulty = proxy(seaweed.target)
    team = staging(tmp_path, noise, seaweed.at(faulty.endpoint))
    faulty.answer(3, matching="partNumber=2")
    faulty.cut(at=1_000_000, matching="partNumber=3")
    faulty.answer(2, matching="manifest.json")
    record = team.take()
    assert record.outcome is Outcome.DONE, record.sentence
    assert is_whole(team)


def test_a_backup_goes_on_after_the_store_was_away_for_longer_than_its_lease(
    noise: Database, seaweed: Bucket, proxy: MakeProxy, tmp_path: Path, dumps: Counter[str]
) -> None:
    faulty = proxy(seaweed.target)
    team = staging(tmp_path, noise, seaweed.at(faulty.endpoint), parallel=2)
    settings = team.environment.store
    assert settings is not None
    direct = open_store(replace(settings, endpoint=seaweed.endpoint), "backup")
    faulty.stall(matching="partNumber=3")

    def go_away_and_come_back() -> None:
        until(lambda: any("rows-1-1.0" in line and "partNumber=3" in line for line in faulty.requests))
        until(lambda: any("roles.0" in line for line in faulty.requests) and dumps["rest"])
        faulty.go_away()
        until(lambda: (held := read_holder(direct, "staging", "backup", "shop")) and held.expired(datetime.now(UTC)))
        faulty.clear()
        faulty.come_back()

    job = replace(BACKUP, lease=lambda _environment, _subject: timedelta(seconds=2))
    outage = threading.Thread(target=go_away_and_come_back)
    outage.start()
    [record] = run_job(job, team.environment, team.store, Options(), timeouts=NO_RETRIES)
    outage.join()
    assert (record.outcome, record.attempts) == (Outcome.DONE, 1), record.sentence
    assert dumps["rows-1-1"] == 2
    assert record.figures["parts_dumped_again"] == sum(1 for times in dumps.values() if times > 1)
    assert "dumped again after uploads broke off (" in record.sentence
    keys = [piece.key for part in team.manifest().parts if part.name == "rows-1-1" for piece in part.pieces]
    assert keys == ["rows-1-1.10000"], "no object of the first try can be overwritten"
    assert any("upload broke off, will be repeated" in line for line in record.log)
    assert list(direct.open_uploads()) == []
    assert is_whole(team)


def test_a_backup_goes_on_after_its_credentials_expired_and_were_renewed(
    noise: Database, seaweed: Bucket, proxy: MakeProxy, tmp_path: Path, dumps: Counter[str]
) -> None:
    faulty = proxy(seaweed.target)
    team = staging(tmp_path, noise, seaweed.at(faulty.endpoint))
    faulty.answer(1, status=403, body=EXPIRED, matching="partNumber=3")
    record = team.take()
    assert record.outcome is Outcome.DONE, record.sentence
    assert dumps == {"rest": 2, "roles": 1}
    assert record.figures["parts_dumped_again"] == 2, "the definitions are dumped with the rest"
    assert "2 parts dumped again after uploads broke off (defs, rest: " in record.sentence
    assert "have expired" in record.sentence
    assert is_whole(team)


def test_credentials_that_nobody_renews_fail_the_backup(
    noise: Database, seaweed: Bucket, proxy: MakeProxy, tmp_path: Path, dumps: Counter[str]
) -> None:
    faulty = proxy(seaweed.target)
    team = staging(tmp_path, noise, seaweed.at(faulty.endpoint))
    faulty.answer(100, status=403, body=EXPIRED, matching="partNumber=3")
    record = team.take()
    assert record.outcome is Outcome.FAILED
    assert "expired" in record.sentence
    assert "the upload of defs and rest broke off 4 times" in record.sentence
    assert dumps == {"rest": 4, "roles": 1}
    assert not any(each.complete for each in team.sets())
    assert list(team.store.open_uploads()) == []


def test_a_stream_beyond_the_part_limit_continues_in_the_next_object(
    noise: Database, seaweed: Bucket, tmp_path: Path
) -> None:
    noise.run("CREATE TABLE more AS SELECT a FROM noise UNION ALL SELECT a FROM noise")
    try:
        team = staging(tmp_path, noise, seaweed, max_parts=10)
        assert team.take().outcome is Outcome.DONE
        [rest] = [part for part in team.manifest().parts if part.name == "rest"]
        assert [piece.key for piece in rest.pieces] == ["rest.0", "rest.1"]
        assert rest.size == sum(piece.size for piece in rest.pieces) > 130_000_000
        [backup_set] = team.sets()
        stored = open_set(team.store, backup_set, team.environment.store.decrypt_with)  # type: ignore[union-attr]
        read_part(stored, rest, DiscardingSink())
    finally:
        noise.run("DROP TABLE more")


def test_a_missing_bucket_fails_the_backup(noise: Database, moto: Bucket, tmp_path: Path) -> None:
    team = staging(tmp_path, noise, moto)
    client, keys = moto.client(), moto.keys()
    for key in keys:
        client.delete_object(Bucket=moto.name, Key=key)
    client.delete_bucket(Bucket=moto.name)
    record = team.take()
    assert record.outcome is Outcome.FAILED
    assert f"bucket {moto.name} does not exist" in record.sentence


def test_a_store_that_becomes_unavailable_fails_the_backup(
    noise: Database, seaweed: Bucket, proxy: MakeProxy, tmp_path: Path
) -> None:
    faulty = proxy(seaweed.target)
    team = staging(tmp_path, noise, seaweed.at(faulty.endpoint))
    faulty.answer(1000, matching="partNumber=4")
    record = team.take()
    assert record.outcome is Outcome.FAILED
    faulty.clear()
    assert not any(each.complete for each in team.sets())


def test_a_set_is_locked_and_what_changes_later_is_not(
    database: Callable[..., Database], seaweed: Bucket, tmp_path: Path
) -> None:
    locked = with_object_lock(seaweed)
    shop = section("shop", database(16).url, "keep = { within = '40d', daily = 90 }")
    staging = team(tmp_path, shop, locked, lock="30d", lock_mode="compliance")
    began = datetime.now(UTC).replace(microsecond=0)
    record = staging.take(tags=("release",))
    assert record.outcome is Outcome.DONE, record.sentence
    [taken] = staging.sets()
    found = {
        entry.key.removeprefix(taken.prefix): staging.store.object_lock(entry.key) for entry in staging.store.list()
    }
    locks = {name: lock for name, lock in found.items() if lock is not None}
    assert sorted(name for name in locks if not name.startswith("ended/")) == [
        "defs.0", "description.0", "manifest.json", "manifest.json.sig", "rest.0", "roles.0",
    ]  # fmt: skip
    assert len(locks) == 7, "and the marker, but no tag, record or lease"
    [until] = {lock.until for lock in locks.values()}
    assert all(lock.compliance for lock in locks.values())
    assert timedelta(days=40) <= until - began < timedelta(days=40, minutes=5)
