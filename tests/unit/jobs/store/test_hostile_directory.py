"""A user with write access to a directory store cannot reach files outside of it or block its readers."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.store import DOCUMENT_LIMIT, Store, StoreError, TooLarge
from tests.parts.runs import store_in

MARK = "staging/backups/shop/20200101T000000Z-aaaa/manifest.json"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return store_in(root)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside of the store, with a file."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "manifest.json").write_bytes(b"precious")
    return folder


def link(path: Path, to: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(to)


def test_a_linked_folder_is_not_listed_and_not_deleted_through(store: Store, root: Path, victim: Path) -> None:
    link(root / "staging/backups/shop/20200101T000000Z-aaaa", victim)
    assert list(store.list()) == list(store.folders("staging/backups/shop/")) == []
    with pytest.raises(StoreError, match=r"has a symbolic link below .*; replace the link"):
        list(store.list("staging/backups/shop/20200101T000000Z-aaaa/"))
    [refused] = store.delete([MARK])
    assert "symbolic link" in refused.why
    assert (victim / "manifest.json").read_bytes() == b"precious"


def test_nothing_is_written_or_read_through_a_linked_folder(store: Store, root: Path, victim: Path) -> None:
    link(root / "staging/locks/backup", victim)
    key = "staging/locks/backup/manifest.json"
    with store.upload("staging/locks/backup/new/part") as upload, pytest.raises(StoreError, match="symbolic link"):
        upload.complete()
    version = store_in(victim).put("manifest.json", b"precious")
    with pytest.raises(StoreError, match="symbolic link"):
        store.put(key, b"new")
    with pytest.raises(StoreError, match="symbolic link"):
        store.create("staging/locks/backup/new", b"new")
    with pytest.raises(StoreError, match="symbolic link"):
        store.replace(key, b"new", version)
    with pytest.raises(StoreError, match="symbolic link"):
        store.get(key)
    with pytest.raises(StoreError, match="symbolic link"):
        list(store.read(key))
    assert [entry.key for entry in store_in(victim).list()] == ["manifest.json"]
    assert (victim / "manifest.json").read_bytes() == b"precious"


def test_a_linked_file_is_replaced_and_deleted_but_not_followed(store: Store, root: Path, victim: Path) -> None:
    link(root / MARK, victim / "manifest.json")
    with pytest.raises(StoreError, match="symbolic link"):
        store.get(MARK)
    with pytest.raises(StoreError, match="exists already"):
        store.create(MARK, b"")
    store.put(MARK, b"ours")
    assert (victim / "manifest.json").read_bytes() == b"precious"
    store.delete([MARK])
    link(root / MARK, victim / "manifest.json")
    assert store.delete([MARK]) == []
    assert (victim / "manifest.json").read_bytes() == b"precious"
    assert not (root / "staging").exists()


def test_a_named_pipe_blocks_no_reader(store: Store, root: Path) -> None:
    (root / MARK).parent.mkdir(parents=True)
    os.mkfifo(root / MARK)
    assert list(store.list()) == []
    with pytest.raises(StoreError, match="is not a regular file; move it out of the store"):
        store.get(MARK)


@pytest.mark.parametrize("name", ["%lock", "%spare"])
def test_the_stores_own_files_are_never_links(store: Store, root: Path, victim: Path, name: str) -> None:
    (root / name).symlink_to(victim / "manifest.json")
    with suppress(StoreError):  # without a spare file, writes still work
        store.put("a", b"")
    assert (victim / "manifest.json").read_bytes() == b"precious"


def test_open_uploads_are_never_links(store: Store, root: Path, victim: Path) -> None:
    (victim / "key").write_bytes(b"staging/key")
    (root / "%open").mkdir()
    (root / "%open/a").symlink_to(victim)
    with pytest.raises(StoreError, match="symbolic link"):
        list(store.open_uploads())
    (root / "%open/a").unlink()
    (root / "%open").rmdir()
    (root / "%open").symlink_to(victim)
    with pytest.raises(StoreError, match="symbolic link"):
        store.put("a", b"")
    assert sorted(path.name for path in victim.iterdir()) == ["key", "manifest.json"]


def test_the_root_can_be_a_link(root: Path, store: Store, tmp_path: Path) -> None:
    store.put("a", b"one")
    (tmp_path / "link").symlink_to(root)
    linked = store_in(tmp_path / "link")
    linked.put("b", b"two")
    assert [entry.key for entry in linked.list()] == ["a", "b"]


def test_a_name_that_is_not_utf_8_is_ignored_with_a_warning(
    store: Store, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.put("staging/runs/a", b"")
    (root / "staging/runs" / os.fsdecode(b"\xff\xfe")).write_bytes(b"")
    assert [entry.key for entry in store.list()] == ["staging/runs/a"]
    assert "file ignored" in "".join(capsys.readouterr())


def test_an_object_beyond_the_limit_is_not_read(store: Store, root: Path) -> None:
    store.put(MARK, b"12345")
    assert store.get(MARK, limit=5).body == b"12345"
    os.truncate(root / MARK, DOCUMENT_LIMIT + 1)
    with pytest.raises(TooLarge, match=r"manifest\.json is larger than 4 MiB, so groundcrew did not write it"):
        store.get(MARK)
