"""What is checked before a set is completed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.sets.manifest import Manifest, decode_manifest
from jobs.backup.sets.sets import set_prefix
from jobs.backup.take.take import require_still_stored
from jobs.store import Denied, Store
from tests.parts.runs import store_in
from tests.parts.sets import manifest_of, put, set_id

AT = datetime(2026, 11, 21, 2, tzinfo=UTC)
PREFIX = set_prefix("try", "shop", set_id(AT))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_in(tmp_path / "store")
    put(store, AT, complete=False)
    return store


def manifest(took: timedelta) -> Manifest:
    return replace(decode_manifest(manifest_of(AT), ""), ended=AT + took)


def test_a_set_whose_piece_was_removed_meanwhile_is_not_completed(store: Store) -> None:
    require_still_stored(store, manifest(timedelta(hours=30)))
    store.delete([f"{PREFIX}rest.0"])
    with pytest.raises(BackupError, match=r"was changed while it was written: piece rest\.0 is missing in the store"):
        require_still_stored(store, manifest(timedelta(hours=30)))
    require_still_stored(store, manifest(timedelta(seconds=2)))


def test_a_backup_needs_no_right_to_list(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise Denied("no")

    monkeypatch.setattr(store, "list", refuse)
    require_still_stored(store, manifest(timedelta(hours=30)))
