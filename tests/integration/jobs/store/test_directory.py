"""Faults of a directory: file modes, crashes, a full disk, a read-only folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jobs.store import Missing, Store, StoreError, open_store
from tests.parts.patience import deadline
from tests.parts.store import Settings


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "new" / "store"
    folder.mkdir(parents=True, mode=0o700)
    return folder


@pytest.fixture
def store(root: Path) -> Store:
    return open_store(Settings(f"file://{root}"))


def test_a_key_is_a_plain_file_that_only_its_owner_can_read(store: Store, root: Path) -> None:
    store.put("dev/runs/a.json", b"one")
    with store.upload("dev/backups/shop/data-1") as upload:
        upload.write(b"two")
        upload.complete()
    assert (root / "dev/runs/a.json").read_bytes() == b"one"
    assert (root / "dev/backups/shop/data-1.0").read_bytes() == b"two"
    modes = {path.stat().st_mode & 0o777 for path in (root, *root.rglob("*")) if path.is_dir()}
    assert modes == {0o700}
    assert {path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()} == {0o600}


def test_reading_creates_nothing(store: Store, root: Path) -> None:
    root.rmdir()
    assert list(store.list()) == list(store.folders("a/")) == list(store.open_uploads()) == []
    with pytest.raises(Missing):
        store.get("a")
    store.delete(["a"])
    assert not root.exists()


def test_a_folder_is_removed_with_its_last_key(store: Store, root: Path) -> None:
    store.put("dev/backups/shop/set/manifest.json", b"")
    store.put("dev/runs/a", b"")
    store.delete(["dev/backups/shop/set/manifest.json"])
    assert [path.name for path in (root / "dev").iterdir()] == ["runs"]


def test_a_reader_never_sees_half_a_write(store: Store) -> None:
    bodies = {letter * 300_000 for letter in (b"a", b"b")}
    store.put("a.json", min(bodies))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for body in bodies:
                store.put("a.json", body)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(store.get("a.json").body in bodies for _ in range(200))
        assert {len(b"".join(store.read("a.json"))) for _ in range(50)} == {300_000}
    finally:
        stop.set()
        writer.join()


def run(code: str, root: Path, *before: str) -> subprocess.CompletedProcess[str]:
    setup = f"""
from jobs.store import open_store, Denied, StoreError
from tests.parts.store import Settings
store = open_store(Settings("file://{root}"))
"""
    return subprocess.run(
        [*before, sys.executable, "-c", setup + code], capture_output=True, text=True, timeout=deadline(30), check=False
    )


def test_a_writer_that_is_killed_leaves_an_open_upload_and_no_key(store: Store, root: Path) -> None:
    died = run("u = store.upload('set/rest'); u.write(b'x' * 3_000_000); import os; os.kill(os.getpid(), 9)", root)
    assert died.returncode == -signal.SIGKILL
    assert list(store.list()) == []
    (left,) = store.open_uploads("set/")
    store.abort_upload(left)
    assert list(store.open_uploads()) == []
    assert list((root / "%open").iterdir()) == []


@pytest.mark.needs("root")
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
    code = """
try:
    with store.upload("set/rest") as upload:
        for _ in range(100): upload.write(bytes(100_000))
        upload.complete()
except StoreError as error:
    print(error)
print(list(store.list()), list(store.open_uploads()))
store.put("small", b"fits again")
print(store.get("small").body)
"""
    disk = f'mount -t tmpfs -o size=1m none {tmp_path} && exec "$@"'
    ended = run(code, tmp_path, "unshare", "--mount", "sh", "-c", disk, "sh")
    assert ended.stdout.splitlines() == [
        f"file://{tmp_path}: set/rest: the disk is full; free some space, or use another disk",
        "[] []",
        "b'fits again'",
    ], ended.stderr


@pytest.mark.needs("root")
def test_a_full_disk_has_room_for_the_locks_and_records_of_retention(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
root = Path({str(tmp_path)!r})
with store.upload("set/rest") as upload:
    upload.write(bytes(30_000_000))
    upload.complete()
store.put("first", b"")
with open(root / "foreign", "wb", buffering=0) as foreign:
    for size in (1 << 20, 1 << 12):
        try:
            while True: foreign.write(bytes(size))
        except OSError as error: full = error
print(full.strerror)
try:
    with store.upload("set/more") as upload: upload.write(bytes(100_000))
except StoreError as error: print(error)
for number in range(20):
    version = store.create(f"locks/{{number}}", bytes(1000))
    store.put(f"runs/{{number}}", bytes(20_000))
    store.replace(f"locks/{{number}}", bytes(2000), version)
print((root / "%spare").stat().st_size < 1 << 20)
print(store.delete(["set/rest.0"]))
store.put("last", b"")
print((root / "%spare").stat().st_size)
print([entry.key for entry in store.list() if "/" not in entry.key])
"""
    disk = f'mount -t tmpfs -o size=64m none {tmp_path} && exec "$@"'
    ended = run(code, tmp_path, "unshare", "--mount", "sh", "-c", disk, "sh")
    assert ended.stdout.splitlines() == [
        "No space left on device",
        f"file://{tmp_path}: set/more: the disk is full; free some space, or use another disk",
        "True",
        "[]",
        str(1 << 20),
        "['first', 'foreign', 'last']",
    ], ended.stderr


@pytest.mark.needs("root")
def test_a_read_only_folder_can_be_read_and_denies_writes(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    open_store(Settings(f"file://{root}")).put("a", b"one")
    code = """
print(store.get("a").body, [entry.key for entry in store.list()])
for change in (lambda: store.put("b", b""), lambda: store.create("b", b""), lambda: store.upload("b")):
    try: change()
    except Denied as error: print(error)
print([(each.key, each.why) for each in store.delete(["a"])])
"""
    readonly = f'mount --bind {root} {root} && mount -o remount,bind,ro {root} && exec "$@"'
    ended = run(code, root, "unshare", "--mount", "sh", "-c", readonly, "sh")
    refused = f"Read-only file system; give user {os.geteuid()} read and write permission"
    assert ended.stdout.splitlines() == [
        "b'one' ['a']",
        *[f"file://{root}: b: {refused}"] * 3,
        f"[('a', 'file://{root}: a: {refused}')]",
    ], ended.stderr


@pytest.mark.parametrize(
    "url", ["file://relative/path", "ftp://x/y", "s3://", "/var/lib", "file:relative", "", "file:///a?b", "s3://b/c?d"]
)
def test_a_url_of_no_store_is_an_error(url: str) -> None:
    with pytest.raises(StoreError, match=r"is not the URL of a store; use s3://bucket/prefix or file:///path"):
        open_store(Settings(url))
