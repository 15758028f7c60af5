"""Faults between groundcrew and S3: each is overcome, or reported in a sentence, and leaves nothing behind."""

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
from tests.parts.patience import deadline
from tests.parts.proxy import Proxy, Way
from tests.parts.s3 import Bucket
from tests.parts.store import Settings

# On a busy machine, a part of 8 MiB takes longer than a second.
QUICK_TIMEOUTS = RequestTimeouts(
    connect=deadline(1), read=deadline(0.5), send=deadline(0.5), sent=deadline(0.5), tries=3
)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses between botocore's tries, to test quickly that it tries again."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.02)


def store_in(bucket: Bucket, max_parts: int = 10000) -> S3Store:
    return S3Store(
        Location(bucket.url, bucket.name, bucket.region, bucket.endpoint, ""), "p", max_parts, QUICK_TIMEOUTS
    )


@pytest.fixture
def network(seaweed: Bucket, proxy: Callable[..., Proxy]) -> Proxy:
    """Return a proxy before the S3 server, which can cut, stall or corrupt."""
    return proxy(seaweed.target)


@pytest.fixture
def store(seaweed: Bucket, network: Proxy) -> S3Store:
    """Return a store behind the proxy."""
    return store_in(seaweed.at(network.endpoint))


def fill(store: Store, key: str, body: bytes) -> str:
    with store.upload(key) as upload:
        upload.write(body)
        [piece] = upload.complete().pieces
        return piece.sha256


def assert_upload_fails(store: Store, expected: type[StoreError], message: str) -> None:
    """Assert that an upload of several parts fails, and leaves no key and no open upload."""
    with pytest.raises(expected, match=message):
        fill(store, "set/data-1", os.urandom(3 * PART))
    assert list(store.list()) == []
    assert list(store.open_uploads()) == []


def test_a_long_stream_continues_in_the_next_object(seaweed: Bucket) -> None:
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
    bodies = [b"".join(store.read(piece.key)) for piece in stored.pieces]
    assert b"".join(bodies) == body
    assert [piece.sha256 for piece in stored.pieces] == [hashlib.sha256(each).hexdigest() for each in bodies]
    assert list(store.open_uploads()) == []


@pytest.mark.long
def test_a_hundred_parts_are_enough_for_any_stream(seaweed: Bucket) -> None:
    """Some providers allow 100 parts; with parts of 8 MiB that is 840 MB per object."""
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


def test_parallel_streams_do_not_mix(seaweed: Bucket) -> None:
    store = store_in(seaweed)
    bodies = [os.urandom(2 * PART + n) for n in range(5)]
    uploads = [store.upload(f"set/data-{n}") for n in range(5)]
    for start in range(0, 3 * PART, 1 << 20):
        for upload, body in zip(uploads, bodies, strict=True):
            upload.write(body[start : start + (1 << 20)])
    for n, (upload, body) in enumerate(zip(uploads, bodies, strict=True)):
        [piece] = upload.complete().pieces
        assert piece.sha256 == hashlib.sha256(body).hexdigest()
        assert b"".join(store.read(f"set/data-{n}.0")) == body


@pytest.mark.parametrize("request_line", ["PUT", "partNumber=2", "POST"])
def test_a_burst_of_503_is_overcome(store: S3Store, network: Proxy, request_line: str) -> None:
    body = os.urandom(2 * PART)
    network.answer(2, matching=request_line)
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body
    assert list(store.open_uploads()) == []


def test_lasting_throttling_is_out_of_reach(store: S3Store, network: Proxy) -> None:
    network.answer(99, matching="partNumber")
    assert_upload_fails(store, OutOfReach, r"too busy for s3:PutObject \(SlowDown\), after 3 tries; try again later")


@pytest.mark.parametrize("at", [0, 1000, PART - 1])
def test_a_cut_in_the_middle_of_an_upload_is_overcome(store: S3Store, network: Proxy, at: int) -> None:
    body = os.urandom(2 * PART + 5)
    network.cut(at, Way.UP, matching="partNumber=2", times=2)
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_a_server_that_goes_away_is_out_of_reach(store: S3Store, network: Proxy) -> None:
    upload = store.upload("set/data-1")
    upload.write(os.urandom(PART + 1))
    network.go_away()
    with pytest.raises(OutOfReach, match=r"http://127.* did not answer s3:PutObject \(no connection\); check"):
        upload.complete()
    network.come_back()
    upload.abort()
    assert list(store.open_uploads()) == []


def test_a_stalled_upload_ends_and_is_tried_again(store: S3Store, network: Proxy) -> None:
    body = os.urandom(2 * PART)
    network.stall(PART // 2, Way.UP, matching="partNumber=1")
    before = time.monotonic()
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert time.monotonic() - before < deadline(5)


def test_the_server_refuses_a_body_that_was_corrupted_on_the_way(store: S3Store, network: Proxy) -> None:
    network.corrupt(12345, Way.UP, matching="partNumber=2", times=9)
    assert_upload_fails(store, OutOfReach, "damaged on the way to the store")
    network.clear()
    network.corrupt(1, Way.UP, matching="PUT", times=9)
    with pytest.raises(OutOfReach, match=r"small\.json: damaged on the way to the store"):
        store.put("small.json", b"{'format': 1}")
    assert list(store.list()) == []


def test_a_part_corrupted_once_is_sent_again(store: S3Store, network: Proxy) -> None:
    body = os.urandom(2 * PART)
    network.corrupt(12345, Way.UP, matching="partNumber=2")
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_a_small_object_that_was_corrupted_on_the_way_is_read_again(store: S3Store, network: Proxy) -> None:
    store.put("small.json", b"{'format': 1}")
    network.corrupt(3, Way.DOWN, matching="GET")
    assert store.get("small.json").body == b"{'format': 1}"
    network.corrupt(3, Way.DOWN, matching="GET", times=9)
    with pytest.raises(OutOfReach, match=r"small\.json: damaged on the way from the store"):
        store.get("small.json")
    with pytest.raises(OutOfReach, match=r"small\.json: damaged on the way from the store"):
        list(store.read("small.json"))


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
def test_reading_resumes_at_the_last_byte(store: S3Store, network: Proxy, fault: Callable[..., None]) -> None:
    body = os.urandom(3 * PART)
    fill(store, "set/data-1", body)
    fault(network, PART + 77, Way.DOWN, matching="GET", times=2)
    assert b"".join(store.read("set/data-1.0", 5)) == body[5:]
    assert len([line for line in network.requests if line.startswith("GET")]) == 3


def test_reading_gives_up_after_some_tries(store: S3Store, network: Proxy) -> None:
    store.put("small", os.urandom(5000))
    network.cut(1000, Way.DOWN, matching="GET")
    network.cut(1, Way.DOWN, matching="GET", times=99)
    with pytest.raises(OutOfReach, match="s3:GetObject"):
        list(store.read("small"))


def test_two_versions_are_not_mixed_while_reading(store: S3Store, network: Proxy, seaweed: Bucket) -> None:
    fill(store, "set/data-1", os.urandom(2 * PART))
    network.cut(PART, Way.DOWN, matching="GET")
    chunks = store.read("set/data-1.0")
    next(chunks)
    fill(store_in(seaweed), "set/data-1", os.urandom(2 * PART))
    with pytest.raises(Changed, match="was changed while it was read"):
        list(chunks)


def test_a_conditional_write_succeeds_though_its_answer_was_lost(store: S3Store, network: Proxy) -> None:
    network.cut(0, Way.DOWN, matching="PUT")
    version = store.create("locks/a.json", b"run 1")
    assert store.get("locks/a.json").version == version
    network.cut(0, Way.DOWN, matching="PUT")
    newer = store.replace("locks/a.json", b"run 1, renewed", version)
    assert store.get("locks/a.json").version == newer
    network.cut(0, Way.DOWN, matching="PUT")
    with pytest.raises(Exists):
        store.create("locks/a.json", b"run 2")
    network.cut(0, Way.DOWN, matching="PUT")
    with pytest.raises(Changed):
        store.replace("locks/a.json", b"run 2", version)


def test_an_upload_is_complete_though_the_answer_was_lost(store: S3Store, network: Proxy) -> None:
    body = os.urandom(2 * PART)
    network.cut(0, Way.DOWN, matching="POST /")
    network.cut(0, Way.DOWN, matching="uploadId=")
    assert fill(store, "set/data-1", body) == hashlib.sha256(body).hexdigest()
    assert b"".join(store.read("set/data-1.0")) == body


def test_an_abort_is_tried_again(store: S3Store, network: Proxy) -> None:
    upload = store.upload("set/data-1")
    upload.write(os.urandom(2 * PART))
    network.answer(2, matching="DELETE")
    upload.abort()
    assert list(store.open_uploads()) == []


def test_the_first_error_is_raised_even_if_the_abort_fails_too(store: S3Store, network: Proxy) -> None:
    def dump() -> None:
        with store.upload("set/data-1") as upload:
            upload.write(os.urandom(2 * PART))
            network.answer(99, matching="DELETE")
            raise RuntimeError("pg_dump died")

    with pytest.raises(RuntimeError, match="pg_dump died"):
        dump()
    network.clear()
    (left,) = store.open_uploads()
    assert left.started > datetime.now(UTC) - timedelta(minutes=1)
    store.abort_upload(left)
    assert list(store.open_uploads()) == []


def test_a_conflict_of_conditional_writes_is_tried_again(store: S3Store, network: Proxy) -> None:
    conflict = b"<Error><Code>ConditionalRequestConflict</Code><Message>busy</Message></Error>"
    network.answer(1, status=409, body=conflict, matching="PUT")
    store.create("locks/a.json", b"run 1")
    network.answer(99, status=409, body=conflict, matching="PUT")
    with pytest.raises(OutOfReach, match="ConditionalRequestConflict"):
        store.create("locks/b.json", b"run 1")


def test_wrong_credentials_are_denied(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-right-one")
    with pytest.raises(Denied, match="does not accept the default credentials") as error:
        store_in(seaweed).get("a")
    assert "not-the-right-one" not in str(error.value)


def test_expired_credentials_cause_advice_to_log_in(store: S3Store, network: Proxy) -> None:
    network.answer(1, status=400, body=b"<Error><Code>ExpiredToken</Code><Message>it expired</Message></Error>")
    with pytest.raises(Denied, match="expired; run aws sso login"):
        list(store.list())


def test_missing_credentials_are_denied(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(Denied, match="the default credentials are missing or invalid; run aws sso login"):
        store_in(seaweed).put("a", b"")


def test_a_job_has_its_own_profile(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"[profile writer]\naws_access_key_id = {seaweed.key}\naws_secret_access_key = {seaweed.secret}\n"
        "[profile reader]\naws_access_key_id = AKIAUNKNOWN\naws_secret_access_key = else\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    settings = Settings(
        f"s3://{seaweed.name}/p", seaweed.region, seaweed.endpoint, profile="reader", profiles={"backup": "writer"}
    )
    open_store(settings, "backup").put("a", b"")
    with pytest.raises(Denied, match=r"the credentials of profile reader .*; run: aws sso login --profile reader"):
        open_store(settings, "cost").get("a")
    with pytest.raises(Denied, match=r"AWS profile nobody does not exist; add it to ~/\.aws/config"):
        open_store(replace(settings, profile="nobody"))


def test_a_missing_bucket_is_named(moto: Bucket) -> None:
    store = store_in(replace(moto, name="no-such-bucket"))
    for call in (lambda: list(store.list()), lambda: store.get("a"), lambda: store.put("a", b"")):
        with pytest.raises(StoreError, match=f"bucket no-such-bucket does not exist at {moto.endpoint}; create it"):
            call()


def test_a_closed_port_is_out_of_reach(seaweed: Bucket, network: Proxy) -> None:
    network.go_away()
    with pytest.raises(OutOfReach, match=r"check the network and store\.endpoint"):
        store_in(seaweed.at(network.endpoint)).get("a")


@pytest.mark.parametrize("body", [b"", b"<html>Please log in</html>"])
def test_another_web_server_is_named(body: bytes, store: S3Store, network: Proxy) -> None:
    network.answer(99, status=200, body=body)
    calls = (
        lambda: store.get("a"),
        lambda: list(store.read("a")),
        lambda: store.put("a", b""),
        lambda: list(store.list()),
        lambda: list(store.folders()),
        lambda: list(store.versions("a")),
        lambda: fill(store, "a", bytes(2 * PART)),
    )
    for call in calls:
        with pytest.raises(StoreError, match=r"answered s3:\S+, but not as S3 does; correct store\.endpoint"):
            call()


def test_a_listing_without_its_end_is_an_error(store: S3Store, network: Proxy) -> None:
    network.answer(
        1,
        status=200,
        body=b"<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>p/a</Key><Size>1</Size><ETag>x</ETag>"
        b"<LastModified>2026-11-21T02:00:00Z</LastModified></Contents></ListBucketResult>",
        matching="list-type",
    )
    with pytest.raises(StoreError, match="answered s3:ListBucket, but not as S3 does"):
        list(store.list())


def test_deleting_a_locked_object_only_hides_it(moto: Bucket) -> None:
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


def test_refused_deletes_are_returned_per_key(store: S3Store, network: Proxy) -> None:
    network.answer(
        1,
        status=200,
        body=b"<DeleteResult><Error><Key>p/b</Key><Code>AccessDenied</Code><Message>locked until 2027</Message></Error>"
        b"<Error><Key>p/c</Key><Code>NoSuchKey</Code><Message>gone</Message></Error></DeleteResult>",
        matching="?delete",
    )
    assert [(one.key, one.why) for one in store.delete(["a", "b", "c"])] == [("b", "AccessDenied: locked until 2027")]
