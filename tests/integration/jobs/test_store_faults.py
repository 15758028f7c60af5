"""What goes wrong between us and S3 is got over, or told in a sentence, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.store import Changed, Denied, Exists, OutOfReach, Store, StoreError, open_store
from jobs.store.retries import RequestTimeouts
from jobs.store.s3 import S3Store
from jobs.store.s3_errors import Location
from jobs.store.s3_upload import PART
from tests.parts.proxy import Proxy, Way
from tests.parts.s3 import Bucket
from tests.parts.store import Settings

IMPATIENT = RequestTimeouts(connect=2, read=1, send=1, tries=3)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long botocore pauses between its tries is its own matter; that it tries again is ours."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.02)


def store_in(bucket: Bucket, max_parts: int = 10000) -> S3Store:
    return S3Store(Location(bucket.url, bucket.name, bucket.region, bucket.endpoint, ""), "p", max_parts, IMPATIENT)


@pytest.fixture
def way(seaweed: Bucket, proxy: Callable[..., Proxy]) -> Proxy:
    return proxy(seaweed.target)


@pytest.fixture
def store(seaweed: Bucket, way: Proxy) -> S3Store:
    """A store that is reached through a proxy that can misbehave."""
    return store_in(seaweed.at(way.endpoint))


def fill(store: Store, key: str, body: bytes) -> str:
    with store.upload(key) as upload:
        upload.write(body)
        return upload.complete().sha256


def refused_upload(store: Store, kind: type[StoreError], said: str) -> None:
    """An upload of several parts fails, in words, and leaves no key and no open upload."""
    with pytest.raises(kind, match=said):
        fill(store, "set/data-1", os.urandom(3 * PART))
    assert list(store.list()) == []
    assert list(store.open_uploads()) == []


def test_a_long_stream_goes_on_in_the_next_object(seaweed: Bucket) -> None:
    store = store_in(seaweed, max_parts=2)
    body = os.urandom(5 * PART + 1)
    with store.upload("set/data-1") as upload:
        upload.write(body)
        assert sorted(one.key for one in store.open_uploads("set/")) == [f"set/data-1.{n}" for n in range(3)]
        stored = upload.complete()
    assert [(piece.key, piece.size) for piece in stored.pieces] == [
        ("set/data-1.0", 2 * PART),
        ("set/data-1.1", 2 * PART),
        ("set/data-1.2", PART + 1),
    ]
    assert b"".join(chunk for piece in stored.pieces for chunk in store.read(piece.key)) == body
    assert list(store.open_uploads()) == []


def test_a_hundred_parts_are_enough_for_any_stream(seaweed: Bucket) -> None:
    """As the strictest of providers has it; and 8 MB at a time that makes 840 MB to an object."""
    store, part = store_in(seaweed, max_parts=100), os.urandom(PART)
    with store.upload("set/data-1") as upload:
        for _ in range(101):
            upload.write(part)
        upload.write(b"!")
        stored = upload.complete()
    assert [(piece.key, piece.size) for piece in stored.pieces] == [
        ("set/data-1.0", 100 * PART),
        ("set/data-1.1", PART + 1),
    ]
    assert b"".join(store.read("set/data-1.1")) == part + b"!"


def test_several_streams_at_once_come_back_each_as_it_was(seaweed: Bucket) -> None:
    store = store_in(seaweed)
    bodies = [os.urandom(2 * PART + n) for n in range(5)]
    uploads = [store.upload(f"set/data-{n}") for n in range(5)]
    for at in range(0, 3 * PART, 1 << 20):
        for upload, body in zip(uploads, bodies, strict=True):
            upload.write(body[at : at + (1 << 20)])
    for n, (upload, body) in enumerate(zip(uploads, bodies, strict=True)):
        assert upload.complete().sha256 == hashlib.sha256(body).hexdigest()
        assert b"".join(store.read(f"set/data-{n}.0")) == body


@pytest.mark.parametrize("request_line", ["PUT", "partNumber=2", "POST"])
def test_a_burst_of_503_is_got_over(store: S3Store, way: Proxy, request_line: str) -> None:
    body = os.urandom(2 * PART)
    way.answer(2, matching=request_line)
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body
    assert list(store.open_uploads()) == []


def test_lasting_throttling_is_out_of_reach(store: S3Store, way: Proxy) -> None:
    way.answer(99, matching="partNumber")
    refused_upload(store, OutOfReach, r"too busy for s3:PutObject \(SlowDown\), asked 3 times; try again later")


@pytest.mark.parametrize("at", [0, 1000, PART - 1])
def test_a_cut_in_the_middle_of_an_upload_is_got_over(store: S3Store, way: Proxy, at: int) -> None:
    body = os.urandom(2 * PART + 5)
    way.cut(at, Way.UP, matching="partNumber=2", times=2)
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_a_server_that_went_away_is_out_of_reach(store: S3Store, way: Proxy) -> None:
    upload = store.upload("set/data-1")
    upload.write(os.urandom(PART + 1))
    way.go_away()
    with pytest.raises(OutOfReach, match=r"http://127.* did not answer s3:PutObject \(no connection\); check"):
        upload.complete()
    way.come_back()
    upload.abort()
    assert list(store.open_uploads()) == []


def test_a_stalled_upload_ends_and_is_tried_again(store: S3Store, way: Proxy) -> None:
    body = os.urandom(2 * PART)
    way.stall(PART // 2, Way.UP, matching="partNumber=1")
    began = time.monotonic()
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert time.monotonic() - began < 10


def test_a_body_corrupted_on_the_way_in_is_refused_by_the_server(store: S3Store, way: Proxy) -> None:
    way.corrupt(12345, Way.UP, matching="partNumber=2", times=9)
    refused_upload(store, OutOfReach, "what arrived in the store is not what was sent")
    way.clear()
    way.corrupt(1, Way.UP, matching="PUT", times=9)
    with pytest.raises(OutOfReach, match=r"small\.json: what arrived in the store is not what was sent"):
        store.put("small.json", b"{'format': 1}")
    assert list(store.list()) == []


def test_a_part_corrupted_once_is_sent_again(store: S3Store, way: Proxy) -> None:
    body = os.urandom(2 * PART)
    way.corrupt(12345, Way.UP, matching="partNumber=2")
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_a_small_object_corrupted_on_the_way_out_is_read_again(store: S3Store, way: Proxy) -> None:
    store.put("small.json", b"{'format': 1}")
    way.corrupt(3, Way.DOWN, matching="GET")
    assert store.get("small.json").body == b"{'format': 1}"
    way.corrupt(3, Way.DOWN, matching="GET", times=9)
    with pytest.raises(OutOfReach, match=r"small\.json: what arrived is not what was stored"):
        store.get("small.json")
    with pytest.raises(OutOfReach, match=r"small\.json: what arrived is not what was stored"):
        list(store.read("small.json"))


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
def test_reading_goes_on_where_it_broke_off(store: S3Store, way: Proxy, fault: Callable[..., None]) -> None:
    body = os.urandom(3 * PART)
    fill(store, "set/data-1", body)
    fault(way, PART + 77, Way.DOWN, matching="GET", times=2)
    assert b"".join(store.read("set/data-1.0", 5)) == body[5:]
    assert len([line for line in way.requests if line.startswith("GET")]) == 3


def test_reading_gives_up_when_nothing_comes_any_more(store: S3Store, way: Proxy) -> None:
    store.put("small", os.urandom(5000))
    way.cut(1000, Way.DOWN, matching="GET")
    way.cut(1, Way.DOWN, matching="GET", times=99)
    with pytest.raises(OutOfReach, match="s3:GetObject"):
        list(store.read("small"))


def test_what_changes_between_two_tries_of_reading_is_not_mixed(store: S3Store, way: Proxy, seaweed: Bucket) -> None:
    fill(store, "set/data-1", os.urandom(2 * PART))
    way.cut(PART, Way.DOWN, matching="GET")
    chunks = store.read("set/data-1.0")
    next(chunks)
    fill(store_in(seaweed), "set/data-1", os.urandom(2 * PART))
    with pytest.raises(Changed, match="was changed while it was read"):
        list(chunks)


def test_a_lost_answer_does_not_lose_a_race_against_itself(store: S3Store, way: Proxy) -> None:
    way.cut(0, Way.DOWN, matching="PUT")
    version = store.create("locks/a.json", b"run 1")
    assert store.get("locks/a.json").version == version
    way.cut(0, Way.DOWN, matching="PUT")
    newer = store.replace("locks/a.json", b"run 1, renewed", version)
    assert store.get("locks/a.json").version == newer
    way.cut(0, Way.DOWN, matching="PUT")
    with pytest.raises(Exists):
        store.create("locks/a.json", b"run 2")
    way.cut(0, Way.DOWN, matching="PUT")
    with pytest.raises(Changed):
        store.replace("locks/a.json", b"run 2", version)


def test_a_lost_answer_to_completing_does_not_lose_the_upload(store: S3Store, way: Proxy) -> None:
    body = os.urandom(2 * PART)
    way.cut(0, Way.DOWN, matching="POST /")
    way.cut(0, Way.DOWN, matching="uploadId=")
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_aborting_is_tried_again(store: S3Store, way: Proxy) -> None:
    upload = store.upload("set/data-1")
    upload.write(os.urandom(2 * PART))
    way.answer(2, matching="DELETE")
    upload.abort()
    assert list(store.open_uploads()) == []


def test_a_broken_pipe_is_told_even_if_aborting_fails_too(store: S3Store, way: Proxy) -> None:
    def died() -> None:
        with store.upload("set/data-1") as upload:
            upload.write(os.urandom(2 * PART))
            way.answer(99, matching="DELETE")
            raise RuntimeError("pg_dump died")

    with pytest.raises(RuntimeError, match="pg_dump died"):
        died()
    way.clear()
    (left,) = store.open_uploads()
    assert left.started > datetime.now(UTC) - timedelta(minutes=1)
    store.abort_upload(left)
    assert list(store.open_uploads()) == []


def test_a_conflict_of_conditional_writes_is_tried_again(store: S3Store, way: Proxy) -> None:
    conflict = b"<Error><Code>ConditionalRequestConflict</Code><Message>busy</Message></Error>"
    way.answer(1, status=409, body=conflict, matching="PUT")
    store.create("locks/a.json", b"run 1")
    way.answer(99, status=409, body=conflict, matching="PUT")
    with pytest.raises(OutOfReach, match="ConditionalRequestConflict"):
        store.create("locks/b.json", b"run 1")


def test_credentials_that_are_not_accepted_are_denied(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-one")
    with pytest.raises(Denied, match="credentials of the environment are not accepted") as told:
        store_in(seaweed).get("a")
    assert "not-the-right-one" not in str(told.value)


def test_expired_credentials_say_how_to_log_in(store: S3Store, way: Proxy) -> None:
    way.answer(1, status=400, body=b"<Error><Code>ExpiredToken</Code><Message>it expired</Message></Error>")
    with pytest.raises(Denied, match="expired; aws sso login"):
        list(store.list())


def test_no_credentials_at_all_are_denied(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Denied, match="no valid credentials came from the environment; aws sso login"):
        store_in(seaweed).put("a", b"")


def test_the_profile_is_that_of_the_job(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile writer]\naws_access_key_id = {seaweed.key}\naws_secret_access_key = {seaweed.secret}\n"
        "[profile reader]\naws_access_key_id = AKIASOMEBODY\naws_secret_access_key = else\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    settings = Settings(
        f"s3://{seaweed.name}/p", seaweed.region, seaweed.endpoint, profile="reader", profiles={"backup": "writer"}
    )
    open_store(settings, "backup").put("a", b"")
    with pytest.raises(Denied, match=r"of profile reader are not accepted .*; aws sso login --profile reader"):
        open_store(settings, "cost").get("a")
    with pytest.raises(Denied, match=r"no AWS profile nobody; add it to ~/\.aws/config"):
        open_store(replace(settings, profile="nobody"))


def test_a_bucket_that_is_not_there_is_named(moto: Bucket) -> None:
    store = store_in(replace(moto, name="no-such-bucket"))
    for ask in (lambda: list(store.list()), lambda: store.get("a"), lambda: store.put("a", b"")):
        with pytest.raises(StoreError, match=f"there is no bucket no-such-bucket at {moto.endpoint}; create it"):
            ask()


def test_nobody_listening_is_out_of_reach(seaweed: Bucket, way: Proxy) -> None:
    way.go_away()
    with pytest.raises(OutOfReach, match=r"check the network and store\.endpoint"):
        store_in(seaweed.at(way.endpoint)).get("a")


def test_deleting_what_is_locked_only_hides_it(moto: Bucket) -> None:
    client = moto.client()
    client.create_bucket(Bucket=f"{moto.name}-locked", ObjectLockEnabledForBucket=True)
    store = store_in(replace(moto, name=f"{moto.name}-locked"))
    store.put("free", b"")
    client.put_object(
        Bucket=f"{moto.name}-locked", Key="p/locked", Body=b"", ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=datetime.now(UTC) + timedelta(days=1),
    )  # fmt: skip
    assert store.delete(["free", "locked"]) == []
    assert list(store.list()) == []
    versions = client.list_object_versions(Bucket=f"{moto.name}-locked")
    assert "p/locked" in [version["Key"] for version in versions["Versions"]]


def test_refused_deletes_are_told_key_by_key(store: S3Store, way: Proxy) -> None:
    way.answer(
        1,
        status=200,
        body=b"<DeleteResult><Error><Key>p/b</Key><Code>AccessDenied</Code><Message>locked until 2027</Message></Error>"
        b"<Error><Key>p/c</Key><Code>NoSuchKey</Code><Message>gone</Message></Error></DeleteResult>",
        matching="?delete",
    )
    assert [(one.key, one.why) for one in store.delete(["a", "b", "c"])] == [("b", "AccessDenied: locked until 2027")]
