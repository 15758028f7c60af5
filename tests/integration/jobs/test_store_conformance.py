"""What every store must do, asked of a directory and of real S3 servers alike."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jobs.store import Changed, Entry, Exists, Missing, Prefix, Store, open_store


@dataclass(frozen=True)
class Settings:
    url: str
    region: str = ""
    endpoint: str = ""
    profile: str = ""
    profiles: dict[str, str] = field(default_factory=dict)
    max_parts: int = 10000


ODD_KEYS = [
    "with space/and  two",
    "plus+plus/per%cent/per%2Fcent/%",
    "hash#query?amp&equals=/semi;colon:at@",
    "quotes'and\"both`",
    "ünï/çødé/日本語/🚀",
    "e\u0301 is not \u00e9",
    "\u00e9 is not e\u0301",
    "brackets[1]{2}(3)<4>",
    "back\\slash|pipe^caret~tilde*star$dollar!",
    ".hidden/..also/...",
    "a",
    "a.b",
    "a/b",
    "a/b/c",
    "a0",
    "%lock",
    "%open/x",
    "x" * 300 + "/" + "y" * 300 + "/" + "z" * 290,
    "x" * 300,
    "x" * 241 + ".dot",
    "é" * 450,
]


@pytest.fixture(params=["directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(Settings(f"file://{tmp_path}/store"))


def keys(store: Store, prefix: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix)]


def test_a_small_object_comes_back_with_its_version(store: Store) -> None:
    version = store.put("dev/a.json", b"one")
    assert store.get("dev/a.json").body == b"one"
    assert store.get("dev/a.json").version == version
    assert [(e.key, e.size, e.version) for e in store.list()] == [("dev/a.json", 3, version)]
    assert store.put("dev/a.json", b"two") != version
    assert store.get("dev/a.json").body == b"two"


def test_what_is_not_there_is_missing(store: Store) -> None:
    for ask in (store.get, lambda key: list(store.read(key)), lambda key: store.replace(key, b"", "1-2-3")):
        with pytest.raises(Missing, match="dev/none"):
            ask("dev/none")
    assert keys(store) == []
    assert list(store.folders()) == []
    assert store.delete(["dev/none"]) == []


@pytest.mark.parametrize("size", [0, 1, 8 << 20, (16 << 20) + 12345])
def test_a_stream_of_unknown_length_comes_back_whole(store: Store, size: int) -> None:
    body = os.urandom(size)
    with store.upload("dev/set/data-1") as upload:
        for at in range(0, size, 999_999):
            assert upload.write(memoryview(body)[at : at + 999_999]) == len(body[at : at + 999_999])
        assert keys(store) == []
        stored = upload.complete()
    assert stored.size == size == sum(piece.size for piece in stored.pieces)
    assert stored.sha256 == hashlib.sha256(body).hexdigest()
    assert [piece.key for piece in stored.pieces] == ["dev/set/data-1.0"]
    assert b"".join(store.read("dev/set/data-1.0")) == body
    assert list(store.open_uploads()) == []


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 4), (3, 7), (9, None), (9, 10), (10, None), (11, None), (0, 99), (5, 5), (50, 60)]
)
def test_a_range_is_read_as_a_slice(store: Store, start: int, end: int | None) -> None:
    store.put("dev/ten", b"0123456789")
    assert b"".join(store.read("dev/ten", start, end)) == b"0123456789"[start:end]


def test_a_stream_left_early_leaves_nothing(store: Store) -> None:
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


def test_an_open_upload_is_listed_and_can_be_ended(store: Store) -> None:
    left = store.upload("dev/set/rest")
    left.write(os.urandom(9 << 20))
    (found,) = store.open_uploads("dev/")
    assert found.key.startswith("dev/set/rest")
    assert list(store.open_uploads("prod/")) == []
    store.abort_upload(found)
    assert list(store.open_uploads()) == []
    store.abort_upload(found)
    left.abort()


def test_odd_keys_are_kept_apart_and_listed_in_order(store: Store) -> None:
    for key in ODD_KEYS:
        store.put(key, key.encode())
    assert keys(store) == sorted(ODD_KEYS, key=str.encode)
    for key in ODD_KEYS:
        assert store.get(key).body == key.encode()
        assert b"".join(store.read(key)) == key.encode()
        assert key in keys(store, key)
        assert key in keys(store, key[: len(key) // 2])
    assert store.delete(ODD_KEYS) == []
    assert keys(store) == []


def test_one_level_is_listed_with_what_is_deeper_rolled_up(store: Store) -> None:
    for key in ("p/backups/shop/s1/m", "p/backups/shop/s1/tags/t", "p/backups/shop/s2/m", "p/backups/x", "p/b", "q/z"):
        store.put(key, b"")

    def level(prefix: str) -> list[str]:
        found = list(store.folders(prefix))
        assert all(one.key.endswith("/") == isinstance(one, Prefix) for one in found)
        assert all(isinstance(one, Entry | Prefix) for one in found)
        return [one.key for one in found]

    assert level("") == ["p/", "q/"]
    assert level("p/") == ["p/b", "p/backups/"]
    assert level("p/ba") == ["p/backups/"]
    assert level("p/backups/") == ["p/backups/shop/", "p/backups/x"]
    assert level("p/backups/shop/") == ["p/backups/shop/s1/", "p/backups/shop/s2/"]
    assert level("p/backups/shop/s1") == ["p/backups/shop/s1/"]
    assert level("nowhere/") == []


def test_five_thousand_keys_are_listed_and_deleted(store: Store) -> None:
    wanted = sorted(f"dev/runs/backup/{n % 7}/{n:05}" for n in range(5000))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put(key, b"x"), wanted))
    assert keys(store) == wanted
    assert [one.key for one in store.folders("dev/runs/backup/")] == [f"dev/runs/backup/{n}/" for n in range(7)]
    assert store.delete([*wanted, "dev/never/was"]) == []
    assert keys(store) == []


def test_create_is_for_the_first_only(store: Store) -> None:
    version = store.create("dev/locks/a.json", b"one")
    with pytest.raises(Exists, match=r"dev/locks/a\.json"):
        store.create("dev/locks/a.json", b"two")
    assert store.get("dev/locks/a.json").body == b"one"
    assert store.get("dev/locks/a.json").version == version


def test_replace_wants_the_version_that_was_read(store: Store) -> None:
    first = store.create("dev/locks/a.json", b"one")
    second = store.replace("dev/locks/a.json", b"two", first)
    assert second != first
    with pytest.raises(Changed, match=r"dev/locks/a\.json"):
        store.replace("dev/locks/a.json", b"three", first)
    assert store.get("dev/locks/a.json").body == b"two"
    assert store.get("dev/locks/a.json").version == second


def test_conditions_can_be_relied_on(store: Store) -> None:
    store.require_conditions()
    store.require_conditions()


def test_of_many_replacing_one_version_one_wins(store: Store) -> None:
    version = store.create("dev/locks/a.json", b"start")
    together = threading.Barrier(8)

    def race(n: int) -> bool:
        together.wait()
        try:
            store.replace("dev/locks/a.json", b"%d" % n, version)
        except Changed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(race, range(8)))
    assert won.count(True) == 1
    assert store.get("dev/locks/a.json").body == b"%d" % won.index(True)
