"""A bucket with versioning as it was at a moment, on SeaweedFS and on the AWS emulator."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from jobs.store import Missing, NoVersions, ReadOnly, Store, open_store
from jobs.store import s3 as s3_store
from tests.parts.patience import until
from tests.parts.s3 import Bucket, with_object_lock
from tests.parts.store import Settings


@pytest.fixture(params=["seaweed", "moto"])
def bucket(request: pytest.FixtureRequest) -> Bucket:
    """Return a bucket without versions."""
    plain: Bucket = request.getfixturevalue(request.param)
    return plain


def store_in(bucket: Bucket) -> Store:
    return open_store(Settings(bucket.url, region=bucket.region, endpoint=bucket.endpoint))


def content(store: Store) -> dict[str, bytes]:
    return {entry.key: b"".join(store.read(entry.key)) for entry in store.list("a/")}


def next_second() -> datetime:
    """Return the current time, and wait for the next second: S3 tells times in seconds."""
    now = datetime.now(UTC)
    until(lambda: datetime.now(UTC).replace(microsecond=0) > now)
    return now


def test_what_was_deleted_or_overwritten_later_is_there(bucket: Bucket) -> None:
    versioned = with_object_lock(bucket)
    store = store_in(versioned)
    for name in ("b/1", "b/2", "c"):
        store.put(f"a/{name}", name.encode())
    before = content(store)
    moment = next_second()
    store.delete(["a/b/1"])
    store.put("a/b/2", b"forged")
    store.put("a/b/3", b"planted")
    store.put("a/d/1", b"planted")
    past = store.as_of(moment)
    assert content(past) == before
    assert [entry.key for entry in past.list("a/", "a/b/2")] == ["a/c"]
    assert [entry.key for entry in past.folders("a/")] == ["a/b/", "a/c"], "a folder without keys is not there"
    assert past.get("a/b/1").body == b"b/1"
    for key in ("a/b/3", "a/b"):
        with pytest.raises(Missing):
            past.get(key)
    with pytest.raises(ReadOnly, match=r"as of 20\S+ \S+ UTC: the past cannot be changed"):
        past.put("a/c", b"")
    assert [past.bring_back(key) for key in before] == [True, True, False]
    now = content(store)
    assert {key: now[key] for key in before} == before


def test_a_large_object_is_copied_in_parts(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_store, "COPIED_PART", 5 << 20)
    store, body = store_in(with_object_lock(seaweed)), os.urandom(11 << 20)
    store.put("a/large", body)
    moment = next_second()
    store.delete(["a/large"])
    assert store.as_of(moment).bring_back("a/large")
    assert content(store) == {"a/large": body}


def test_a_key_with_more_versions_than_a_page(moto: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_in(with_object_lock(moto))
    for name in ("a/1", "a/2", "a/3"):
        store.put(name, b"first")
    moment = next_second()
    for _ in range(3):
        store.put("a/2", b"later")
        store.delete(["a/2"])
    client = vars(store)["_small"].get()
    paginate = client.get_paginator
    monkeypatch.setattr(client, "get_paginator", lambda name: SmallPages(paginate(name)))
    assert content(store.as_of(moment)) == dict.fromkeys(("a/1", "a/2", "a/3"), b"first")


class SmallPages:
    """A paginator whose pages have three entries."""

    def __init__(self, paginator: Any) -> None:
        self._paginator = paginator

    def paginate(self, **request: object) -> object:
        return self._paginator.paginate(**request, MaxKeys=3)


def test_a_store_without_versions_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    moment = datetime.now(UTC)
    with pytest.raises(NoVersions, match="keeps no versions, so it cannot be read as it was; enable versioning"):
        store_in(bucket).as_of(moment)
    with pytest.raises(NoVersions, match="a directory keeps no versions; --store-as-of needs a bucket"):
        open_store(Settings(f"file://{tmp_path}")).as_of(moment)
