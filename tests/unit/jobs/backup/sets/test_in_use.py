"""The note in a set that somebody reads it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.sets import in_use
from jobs.backup.sets.in_use import IN_USE, is_in_use, noted_as_in_use
from jobs.backup.sets.sets import sets_from_listing
from jobs.backup.sets.stored import StoredSet, open_set
from jobs.backup.sets.trust import TRUST_ALL
from jobs.run import unrecorded_run
from jobs.run.context import RunContext
from jobs.store import Denied
from tests.parts.patience import until
from tests.parts.runs import environment, store_in
from tests.parts.sets import put

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def stored(tmp_path: Path) -> StoredSet:
    store = store_in(tmp_path / "store")
    put(store, NOW)
    [found] = sets_from_listing("try", store.list("try/backups/"), TRUST_ALL)
    return open_set(store, found, None)


@pytest.fixture
def run(stored: StoredSet) -> Iterator[RunContext]:
    with unrecorded_run(environment(), stored.store, "restore", "shop") as run:
        yield run


@pytest.mark.parametrize(
    ("noted", "used"),
    [
        (None, False),
        (NOW, True),
        (NOW - timedelta(minutes=14), True),
        (NOW - timedelta(minutes=16), False),
        (NOW + timedelta(minutes=14), True),
        (NOW + timedelta(days=300), False),
    ],
)
def test_a_note_counts_for_a_while(noted: datetime | None, used: bool) -> None:
    assert is_in_use(noted, NOW) is used


def test_a_reader_renews_its_note(stored: StoredSet, run: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_use, "RENEWAL", timedelta(milliseconds=1))

    def note() -> str:
        return stored.store.get(stored.key(IN_USE)).version

    with noted_as_in_use(stored, run):
        first = note()
        until(lambda: note() != first)


def test_a_set_is_read_without_the_right_to_note_it(
    stored: StoredSet, run: RunContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise Denied("no")

    monkeypatch.setattr(stored.store, "put", refuse)
    with noted_as_in_use(stored, run):
        assert IN_USE not in str(list(stored.store.list()))
