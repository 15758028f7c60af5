"""Which bytes of a changed part a restore uses before it notices the change."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from random import Random

import pytest

from jobs.backup.errors import Damaged, UnreadableSet, Untrusted
from jobs.backup.sets.encryption import encrypt
from jobs.backup.sets.manifest import FIRST_BYTES, PartKind
from jobs.backup.sets.sets import sets_from_listing
from jobs.backup.sets.stored import StoredSet, open_set, read_part, read_small_part
from jobs.backup.sets.trust import Trust
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
