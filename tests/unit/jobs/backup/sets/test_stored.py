"""Which bytes of a changed part a restore uses before it notices the change, and how it waits for the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from jobs.backup.errors import Damaged, UnreadableSet, Untrusted
from jobs.backup.sets import stored as stored_sets
from jobs.backup.sets.encryption import encrypt
from jobs.backup.sets.manifest import FIRST_BYTES, PartKind
from jobs.backup.sets.sets import sets_from_listing
from jobs.backup.sets.stored import StoredSet, open_set, read_part, read_small_part
from jobs.backup.sets.trust import Trust
from jobs.run.stop import Stopped
from jobs.store import Expired, OutOfReach, Store, StoreError
from jobs.store.directory import DirectoryStore
from tests.parts.rewriting import overwrite
from tests.parts.runs import store_in
from tests.parts.signed_sets import write_set
from tests.parts.signing import KEYS, SET_SIGNER

AT = datetime(2026, 11, 28, 2, tzinfo=UTC)
DEFINITIONS = Random(1).randbytes(FIRST_BYTES + (1 << 20))
ROWS = b"1\tAda\n" * 100_000


@pytest.fixture
def stored(tmp_path: Path) -> StoredSet:
    """A signed set, not encrypted, whose definitions are longer than the bytes that first_sha256 covers."""
    store = store_in(tmp_path / "store")
    write_set(store, SET_SIGNER, AT, content=DEFINITIONS, rest=DEFINITIONS + ROWS, recipients=())
    [found] = sets_from_listing("staging", store.list("staging/backups/"), Trust(KEYS))
    return open_set(store, found, None)


def exchange_rest(stored: StoredSet, folder: Path, content: bytes) -> None:
    exchanged = BytesIO()
    encrypt([content], exchanged, ())
    overwrite(folder / "store" / stored.key("rest.0"), exchanged.getvalue())


def read_rest(stored: StoredSet, sink: BytesIO) -> None:
    [rest] = stored.parts(PartKind.REST)
    read_part(stored, rest, sink)


def test_the_rest_of_an_intact_set_is_read_whole(stored: StoredSet) -> None:
    sink = BytesIO()
    read_rest(stored, sink)
    assert sink.getvalue() == DEFINITIONS + ROWS


def test_no_changed_statement_is_used_however_many_there_are(stored: StoredSet, tmp_path: Path) -> None:
    statement = b"COPY orders FROM PROGRAM 'id'"
    changed = DEFINITIONS[: -len(statement)] + statement
    exchange_rest(stored, tmp_path, changed + ROWS)
    sink = BytesIO()
    with pytest.raises(Damaged, match=r"part rest of set .* is damaged"):
        read_rest(stored, sink)
    assert len(sink.getvalue()) > FIRST_BYTES  # the change is not in the bytes that first_sha256 covers
    assert DEFINITIONS.startswith(sink.getvalue())


def test_a_changed_beginning_is_not_used_at_all(stored: StoredSet, tmp_path: Path) -> None:
    exchange_rest(stored, tmp_path, b"x" + DEFINITIONS[1:] + ROWS)
    sink = BytesIO()
    with pytest.raises(Damaged, match="its first bytes have changed"):
        read_rest(stored, sink)
    assert sink.getvalue() == b""


@pytest.mark.parametrize("body", [b"[" * 100_000, b"{}"])
def test_a_manifest_without_a_good_signature_is_not_parsed(stored: StoredSet, tmp_path: Path, body: bytes) -> None:
    overwrite(tmp_path / "store" / stored.key("manifest.json"), body)
    stored.store.delete([entry.key for entry in stored.store.list(stored.key("ended/"))])
    [found] = sets_from_listing("staging", stored.store.list("staging/backups/"), Trust(KEYS))
    with pytest.raises(Untrusted, match="is not trusted"):
        open_set(stored.store, found, None)


def test_a_part_that_unpacks_to_more_than_memory_holds_is_refused(
    stored: StoredSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    [definitions] = stored.parts(PartKind.DEFINITIONS)
    assert read_small_part(stored, definitions) == DEFINITIONS
    monkeypatch.setattr("jobs.backup.sets.stored.LARGE_DOCUMENT_LIMIT", 4 << 20)
    [rest] = stored.parts(PartKind.REST)
    with pytest.raises(UnreadableSet, match="it unpacks to more than 4 MiB"):
        read_small_part(stored, rest)


class Outage(DirectoryStore):
    """A store that breaks off each read after some bytes, and then refuses the next tries."""

    after, refusals, error = 7, 3, OutOfReach

    def __init__(self, store: Store) -> None:
        super().__init__(store.url, Path(urlsplit(store.url).path))
        self.starts: list[int] = []

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        self.starts.append(start)
        if start and self.starts.count(start) <= self.refusals:
            raise self.error("no answer")
        yield from super().read(key, start, start + self.after)
        if start + self.after < len(self.get(key).body):
            raise self.error("broke off")


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredSet:
    """A set whose store is out of reach again and again."""
    monkeypatch.setattr(stored_sets, "LONGEST_PAUSE", 0.001)
    monkeypatch.setattr(stored_sets, "STEP", 0.001)
    store = store_in(tmp_path / "store")
    write_set(store, SET_SIGNER, AT, content=b"1\tAda\n", recipients=())
    [found] = sets_from_listing("staging", store.list("staging/backups/"), Trust(KEYS))
    return replace(open_set(store, found, None), store=Outage(store))


def read_definitions(stored: StoredSet, check: Callable[[], None] | None = lambda: None) -> bytes:
    [part], sink = stored.parts(PartKind.DEFINITIONS), BytesIO()
    read_part(stored, part, sink, check)
    return sink.getvalue()


@pytest.mark.parametrize("error", [OutOfReach, Expired])
def test_a_reader_waits_for_the_store_and_goes_on_after_the_last_byte(
    rows: StoredSet, error: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Outage, "error", error)
    assert read_definitions(rows) == b"1\tAda\n"
    assert isinstance(rows.store, Outage)
    assert rows.store.starts[:6] == [0, 7, 7, 7, 7, 14]


def test_a_reader_gives_up_after_some_time(rows: StoredSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_sets, "PATIENCE", 0.01)
    monkeypatch.setattr(Outage, "refusals", 1_000_000)
    with pytest.raises(OutOfReach):
        read_definitions(rows)


def test_a_stop_ends_the_wait(rows: StoredSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outage, "refusals", 1_000_000)
    checks = iter([None] * 20)

    def check() -> None:
        if next(checks, "stopped"):
            raise Stopped("Ctrl-C")

    with pytest.raises(Stopped):
        read_definitions(rows, check)


def test_a_reader_that_cannot_be_stopped_does_not_wait(rows: StoredSet) -> None:
    with pytest.raises(OutOfReach):
        read_definitions(rows, None)


def test_bytes_that_were_damaged_on_the_way_are_no_outage(rows: StoredSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(store: Outage, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield from DirectoryStore.read(store, key, start, end)
        raise OutOfReach("damaged on the way from the store (checksum mismatch)")

    monkeypatch.setattr(Outage, "read", read)
    with pytest.raises(OutOfReach, match="checksum mismatch"):
        read_definitions(rows)
