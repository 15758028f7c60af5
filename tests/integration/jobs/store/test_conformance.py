"""What every store must do, tested on a directory and on real S3 servers."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from jobs.store import (
    Changed,
    Exists,
    ListedKey,
    ListedPrefix,
    Missing,
    NotConditional,
    NotMarked,
    Store,
    TooLarge,
    environments_in,
    make_store,
    open_store,
    require_mark,
)
from tests.parts.patience import deadline
from tests.parts.s3 import Bucket
from tests.parts.store import Settings

ODD_KEYS = [
    "with space/and  two",
    "plus+plus/per%cent/per%2Fcent/%",
    "hash#query?amp&equals=/semi;colon:at@",
    "quotes'and\"both`",
    "ünï/çødé/日本語/🚀",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "brackets[1]{2}(3)<4>",
    "pipe|caret^tilde~star*dollar$!",
    ".hidden/..also/...",
    "a",
    "a.b",
    "a/b",
    "a/b/c",
    "a0",
    "%lock",
    "%open/x",
    "/".join(letter * 224 for letter in "wxyz"),
]
ODD_DIRECTORY_KEYS = [
    "back\\slash",
    "x" * 300 + "/" + "y" * 300 + "/" + "z" * 290,
    "x" * 300,
    "x" * 241 + ".dot",
    "é" * 450,
    "..",
    "../up",
    "./here/./and/../there",
    "/lead",
    "trail/",
    "two//slashes",
    "new\nline\rand\x01control",
    "%open",
]


S3 = ["seaweed", "moto"]
HONOUR_CONDITIONS = ["directory", *S3]
ALL = [*HONOUR_CONDITIONS, "rclone_s3"]


@pytest.fixture(params=HONOUR_CONDITIONS)
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "directory":
        (tmp_path / "store").mkdir()
        return Settings(f"file://{tmp_path}/store")
    bucket: Bucket = request.getfixturevalue(request.param)
    return Settings(f"{bucket.url}/a b", bucket.region, bucket.endpoint)


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings)


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


@pytest.mark.parametrize("settings", ALL, indirect=True)
def test_a_store_is_refused_until_it_is_made(store: Store) -> None:
    store.put("production/backups/shop/20261120T020000Z-cccc/manifest.json", b"")
    with pytest.raises(NotMarked, match=r"was not made for staging. It has data of production"):
        require_mark(store, "staging")
    make_store(store, "staging")
    require_mark(store, "staging")
    assert environments_in(store) == ["production", "staging"]


@pytest.mark.parametrize("settings", ALL, indirect=True)
def test_a_small_object_is_read_with_its_version(store: Store) -> None:
    version = store.put("dev/a.json", b"one")
    assert store.get("dev/a.json").body == b"one"
    assert store.get("dev/a.json").version == version
    assert [(e.key, e.size, e.version) for e in store.list()] == [("dev/a.json", 3, version)]
    assert store.put("dev/a.json", b"two") != version
    assert store.get("dev/a.json").body == b"two"


def test_a_key_that_does_not_exist_is_missing(store: Store) -> None:
    for read in (store.get, lambda key: list(store.read(key))):
        with pytest.raises(Missing, match="dev/none does not exist"):
            read("dev/none")
    with pytest.raises((Missing, Changed), match="dev/none"):
        store.replace("dev/none", b"", "1-2-3")
    assert keys(store) == []
    assert list(store.folders()) == []
    assert store.delete(["dev/none"]) == []


@pytest.mark.parametrize("settings", ALL, indirect=True)
@pytest.mark.parametrize("size", [0, 1, 8 << 20, (16 << 20) + 12345])
def test_a_stream_of_unknown_length_is_read_whole(store: Store, size: int) -> None:
    body = os.urandom(size)
    with store.upload("dev/set/data-1") as upload:
        for start in range(0, size, 999_999):
            chunk = memoryview(body)[start : start + 999_999]
            assert upload.write(chunk) == len(chunk)
        assert keys(store) == []
        stored = upload.complete()
    assert stored.size == size == sum(piece.size for piece in stored.pieces)
    assert [(piece.key, piece.sha256) for piece in stored.pieces] == [
        ("dev/set/data-1.0", hashlib.sha256(body).hexdigest())
    ]
    assert b"".join(store.read("dev/set/data-1.0")) == body
    assert list(store.open_uploads()) == []


@pytest.mark.parametrize("settings", ALL, indirect=True)
@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 4), (3, 7), (9, None), (9, 10), (10, None), (11, None), (0, 99), (5, 5), (50, 60)]
)
def test_a_range_is_read_as_a_slice(store: Store, start: int, end: int | None) -> None:
    store.put("dev/ten", b"0123456789")
    assert b"".join(store.read("dev/ten", start, end)) == b"0123456789"[start:end]


@pytest.mark.parametrize("settings", ALL, indirect=True)
def test_an_aborted_upload_leaves_nothing(store: Store) -> None:
    with store.upload("dev/set/rest") as upload:
        upload.write(os.urandom(9 << 20))
    with contextlib.suppress(RuntimeError), store.upload("dev/set/rest") as upload:
        upload.write(b"x")
        raise RuntimeError("pg_dump died")
    upload = store.upload("dev/set/rest")
    upload.write(b"x")
    upload.abort()
    upload.abort()
    assert keys(store) == []
    assert list(store.open_uploads()) == []


@pytest.mark.parametrize("settings", ALL, indirect=True)
def test_an_open_upload_is_listed_and_can_be_aborted(store: Store) -> None:
    left = store.upload("dev/set/rest")
    left.write(os.urandom(9 << 20))
    (found,) = store.open_uploads("dev/")
    assert found.key.startswith("dev/set/rest")
    assert list(store.open_uploads("prod/")) == []
    store.abort_upload(found)
    assert list(store.open_uploads()) == []
    store.abort_upload(found)
    left.abort()


def test_odd_keys_are_kept_as_they_are(store: Store) -> None:
    odd = ODD_KEYS + (ODD_DIRECTORY_KEYS if store.url.startswith("file:") else [])
    for key in odd:
        store.put(key, key.encode())
    assert sorted(keys(store), key=str.encode) == sorted(odd, key=str.encode)
    for key in odd:
        assert store.get(key).body == key.encode()
        assert b"".join(store.read(key)) == key.encode()
        assert key in keys(store, key)
        assert key in keys(store, key[: len(key) // 2])
    assert store.delete(odd) == []
    assert keys(store) == []


@pytest.mark.parametrize("settings", ALL, indirect=True)
def test_one_level_is_listed_with_its_keys_and_folders(store: Store) -> None:
    for key in ("p/backups/shop/s1/m", "p/backups/shop/s1/tags/t", "p/backups/shop/s2/m", "p/backups/x", "p/b", "q/z"):
        store.put(key, b"")

    def level(prefix: str) -> list[str]:
        listed = list(store.folders(prefix))
        assert all(each.key.endswith("/") == isinstance(each, ListedPrefix) for each in listed)
        assert all(isinstance(each, ListedKey | ListedPrefix) for each in listed)
        return [each.key for each in listed]

    assert level("") == ["p/", "q/"]
    assert level("p/") == ["p/b", "p/backups/"]
    assert level("p/ba") == ["p/backups/"]
    assert level("p/backups/") == ["p/backups/shop/", "p/backups/x"]
    assert level("p/backups/shop/") == ["p/backups/shop/s1/", "p/backups/shop/s2/"]
    assert level("p/backups/shop/s1") == ["p/backups/shop/s1/"]
    assert level("nowhere/") == []


def test_a_listing_starts_after_a_key(store: Store) -> None:
    wanted = [f"p/runs/{day}/{time}.json" for day in ("20261127", "20261128", "20261129") for time in ("01", "02")]
    for key in wanted:
        store.put(key, b"x")

    def after(start: str, prefix: str = "p/runs/") -> list[str]:
        return [each.key for each in store.list(prefix, start)]

    assert after("p/runs/20261127/") == wanted
    assert after("p/runs/20261128/") == wanted[2:]
    assert after("p/runs/20261128/01.json") == wanted[3:]
    assert after("p/runs/20261128/01.jsonx") == wanted[3:]
    assert after("p/runs/20261128/~") == wanted[4:]
    assert after("p/runs/20261128a/") == wanted[4:]
    assert after("p/runs/20261130/") == []
    assert after("p/runs/20261128/01", "p/runs/20261128/") == wanted[2:4]


@pytest.mark.parametrize("limit", [1, 3, 5, 6, 7, 2000])
def test_a_listing_with_a_limit_yields_the_first_keys(store: Store, limit: int) -> None:
    wanted = [f"p/{day}/{time}.json" for day in ("20261127", "20261128", "20261129") for time in ("01", "02")]
    for key in wanted:
        store.put(key, b"x")
    assert [each.key for each in store.list("p/", limit=limit)] == wanted[:limit]
    assert [each.key for each in store.list("p/", "p/20261127/02.json", limit)] == wanted[2:][:limit]


@pytest.mark.parametrize(
    ("settings", "many"),
    [("directory", 1100), pytest.param("seaweed", 5000, marks=pytest.mark.long), ("moto", 1100)],
    indirect=["settings"],
)
def test_thousands_of_keys_are_listed_and_deleted(store: Store, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # 10,000 fsyncs would take long, and no crash is tested here
    wanted = sorted(f"dev/runs/backup/{n % 7}/{n:05}" for n in range(many))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), wanted))
    assert keys(store) == wanted
    assert [one.key for one in store.folders("dev/runs/backup/")] == [f"dev/runs/backup/{n}/" for n in range(7)]
    assert store.delete([*wanted, "dev/never/was"]) == []
    assert keys(store) == []


def test_only_the_first_creation_succeeds(store: Store) -> None:
    version = store.create("dev/locks/a.json", b"one")
    with pytest.raises(Exists, match=r"dev/locks/a\.json"):
        store.create("dev/locks/a.json", b"two")
    assert store.get("dev/locks/a.json").body == b"one"
    assert store.get("dev/locks/a.json").version == version


def test_replace_needs_the_version_that_was_read(store: Store) -> None:
    first = store.create("dev/locks/a.json", b"one")
    second = store.replace("dev/locks/a.json", b"two", first)
    assert second != first
    with pytest.raises(Changed, match=r"dev/locks/a\.json"):
        store.replace("dev/locks/a.json", b"three", first)
    assert store.get("dev/locks/a.json").body == b"two"
    assert store.get("dev/locks/a.json").version == second


def test_a_store_that_honours_conditions_passes_the_test(store: Store) -> None:
    store.require_conditional_writes()
    store.require_conditional_writes()
    assert list(store.open_uploads()) == []


@pytest.mark.parametrize("settings", ["rclone_s3"], indirect=True)
def test_a_store_that_ignores_conditions_is_detected(settings: Settings) -> None:
    store = open_store(settings)
    for _ in range(2):
        with pytest.raises(NotConditional, match=r"ignores conditions on writes.*; use a server that"):
            store.require_conditional_writes()


def test_only_one_of_many_writers_replaces_a_version(store: Store) -> None:
    version = store.create("dev/locks/a.json", b"start")
    start = threading.Barrier(8)

    def race(n: int) -> bool:
        start.wait()
        try:
            store.replace("dev/locks/a.json", b"%d" % n, version)
        except Changed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert store.get("dev/locks/a.json").body == b"%d" % won.index(True)


def race(settings: Settings, name: str, start: Barrier, won: Queue[tuple[str, list[int]]]) -> None:
    """One process of a race for ten keys."""
    store = open_store(settings)
    mine = []
    for n in range(10):
        start.wait(deadline(30))
        with contextlib.suppress(Exists):
            store.create(f"dev/locks/{n}.json", name.encode() * 1000)
            mine.append(n)
    won.put((name, mine))


@pytest.mark.parametrize("settings", HONOUR_CONDITIONS, indirect=True)
def test_only_one_of_two_processes_creates_a_key(settings: Settings) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, won = spawn.Barrier(2), spawn.Queue()
    racers = [spawn.Process(target=race, args=(settings, name, start, won)) for name in "ab"]
    for racer in racers:
        racer.start()
    mine = dict(won.get(timeout=deadline(60)) for _ in racers)
    for racer in racers:
        racer.join(deadline(10))
    assert sorted(mine["a"] + mine["b"]) == list(range(10))
    for name, keys_won in mine.items():
        for n in keys_won:
            assert open_store(settings).get(f"dev/locks/{n}.json").body == name.encode() * 1000


def test_an_object_beyond_the_limit_is_not_read(store: Store) -> None:
    store.put("a", b"12345")
    assert store.get("a", limit=5).body == b"12345"
    with pytest.raises(TooLarge, match="a is larger than"):
        store.get("a", limit=4)
    assert store.get("a").body == b"12345"
