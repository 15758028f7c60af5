"""A store is marked when it is made, so that a wrong one is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.store import NotMarked, make_store, mark_key, require_mark
from jobs.store.directory import DirectoryStore
from jobs.store.interface import DOCUMENT_LIMIT, StoredObject, StoreError
from tests.parts.runs import store_in
from tests.parts.store import mark


class Counting(DirectoryStore):
    """Counts its reads and listings."""

    requests = 0

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        self.requests += 1
        return super().get(key, limit)


def test_a_made_store_is_accepted_with_one_request(tmp_path: Path) -> None:
    mark(tmp_path, "staging")
    store = Counting(f"file://{tmp_path}", tmp_path)
    require_mark(store, "staging")
    assert store.requests == 1


def test_a_store_is_made_once(tmp_path: Path) -> None:
    store = DirectoryStore(f"file://{tmp_path}/a/b", tmp_path / "a" / "b")
    assert make_store(store, "staging")
    before = store.get(mark_key("staging"))
    assert not make_store(store, "staging")
    assert store.get(mark_key("staging")) == before


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (("photos/a.jpg",), "It has no groundcrew data. Correct store.url, or mount its disk. To make a store"),
        (("production/backups/shop/s/manifest.json", "dev/runs/a.json"), "It has data of dev, production. Correct"),
        (("staging/backups/shop/s/manifest.json",), "has data of staging but no mark, because an older groundcrew"),
    ],
)
def test_a_refused_store_says_whose_it_is(tmp_path: Path, keys: tuple[str, ...], why: str) -> None:
    store = store_in(tmp_path / "store")
    for key in keys:
        store.put(key, b"")
    with pytest.raises(NotMarked) as refused:
        require_mark(store, "staging")
    assert why in str(refused.value)
    assert str(refused.value).endswith(": crew check staging --create")
    assert refused.value.exit_code == 78


def test_a_write_never_creates_the_directory(tmp_path: Path) -> None:
    store = DirectoryStore(f"file://{tmp_path}/gone", tmp_path / "gone")
    for write in (lambda: store.put("a", b""), lambda: store.create("a", b""), lambda: store.upload("a")):
        with pytest.raises(StoreError, match=r"gone does not exist; mount its disk, or correct store.url"):
            write()
    assert not (tmp_path / "gone").exists()
