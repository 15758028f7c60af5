"""Object lock on S3 servers: what SeaweedFS and the AWS emulator enforce (see the table in tests/README.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.store import LockProof, ObjectLock, StoreError, open_store
from jobs.store.s3_upload import PART
from tests.parts.s3 import Bucket, with_object_lock
from tests.parts.store import Settings

LATER = ObjectLock(datetime.now(UTC).replace(microsecond=0) + timedelta(days=10))
SOON = ObjectLock(LATER.until - timedelta(days=9))


@pytest.fixture(params=["seaweed", "moto"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """Return a bucket without object lock."""
    plain: Bucket = request.getfixturevalue(request.param)
    return plain


def store_in(bucket: Bucket) -> Settings:
    return Settings(bucket.url, region=bucket.region, endpoint=bucket.endpoint)


def test_a_locked_object_is_hidden_by_a_delete_and_its_version_stays(bucket: Bucket) -> None:
    locked = with_object_lock(bucket)
    store = open_store(store_in(locked))
    store.put("a/put", b"1", lock=SOON)
    store.create("a/created", b"2", lock=SOON)
    with store.upload("a/small", lock=SOON) as upload:
        upload.write(b"3")
        upload.complete()
    store.put("a/free", b"4")
    locks = {entry.key: store.object_lock(entry.key) for entry in store.list("a/")}
    assert locks == {"a/put": SOON, "a/created": SOON, "a/small.0": SOON, "a/free": None}
    assert store.delete(locks) == [], "a delete without a version only hides objects"
    assert list(store.list("a/")) == []
    removed, refused = store.purge_versions("a/")
    assert removed == 2, "the free object and its delete marker"
    assert {(each.key, each.locked_until) for each in refused} == {
        (key, SOON.until) for key in locks if key != "a/free"
    }
    assert sorted(store.deleted_keys("a/")) == ["a/created", "a/put", "a/small.0"]


def test_a_large_object_is_locked(seaweed: Bucket) -> None:
    store = open_store(store_in(with_object_lock(seaweed)))
    with store.upload("large", lock=SOON) as upload:
        upload.write(bytes(PART + 1))
        upload.complete()
    assert store.object_lock("large.0") == SOON


@pytest.mark.parametrize(
    ("locks", "expected"),
    [
        ([SOON, LATER, SOON], LATER),
        ([replace(SOON, compliance=True), LATER, SOON], replace(LATER, compliance=True)),
        ([SOON, replace(LATER, compliance=True)], LATER),
    ],
)
def test_a_lock_is_extended_never_shortened_and_keeps_its_mode(
    seaweed: Bucket, locks: list[ObjectLock], expected: ObjectLock
) -> None:
    store = open_store(store_in(with_object_lock(seaweed)))
    store.put("a", b"1")
    for lock in locks:
        store.extend_lock("a", lock)
    assert store.object_lock("a") == expected


def test_credentials_that_can_lift_a_lock_are_found(bucket: Bucket) -> None:
    store = open_store(store_in(with_object_lock(bucket)))
    assert store.prove_lock("check/lock", SOON) == LockProof(has_versions=True, refused=True, lifted=True)
    proof = store.prove_lock("check/lock", ObjectLock(SOON.until, compliance=True))
    assert proof == LockProof(has_versions=True, refused=True, lifted=False)


def test_a_bucket_without_object_lock_is_refused(bucket: Bucket) -> None:
    store = open_store(store_in(bucket))
    writes: list[Callable[[], object]] = [
        lambda: store.put("a", b"1", lock=SOON),
        lambda: store.create("b", b"1", lock=SOON),
        lambda: store.prove_lock("c", SOON),
    ]
    for write in writes:
        with pytest.raises(StoreError, match=r"bucket \S+ has no object lock, which lock in the file needs"):
            write()
    assert store.object_lock("a") is None if store.put("a", b"1") else False


def test_a_directory_has_no_object_lock(tmp_path: Path) -> None:
    store = open_store(Settings(f"file://{tmp_path}"))
    store.put("a", b"1")
    assert store.object_lock("a") is None
    for write in (lambda: store.put("b", b"", lock=SOON), lambda: store.extend_lock("a", SOON)):
        with pytest.raises(StoreError, match="object lock needs S3, a directory cannot refuse to delete files"):
            write()
