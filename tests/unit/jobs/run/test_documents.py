"""Documents: their format number, their times, and compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from jobs.run import Failed, documents
from jobs.run.documents import key_time, key_timestamp
from jobs.run.lease import holder_from
from jobs.run.record import record_from
from tests.parts.runs import store_in


@pytest.mark.parametrize("read", [holder_from, record_from])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "this is not a document of groundcrew"),
        (b"\xff\x00", "this is not a document of groundcrew"),
        (b"[1]", "this is not a document of groundcrew"),
        (b"{}", "this is not a document of groundcrew"),
        (b'{"format": 1}', "this is not a document of groundcrew"),
        (b'{"format": 1, "colour": "red"}', "this is not a document of groundcrew"),
        (b'{"format": 2}', "has format 2; this version of groundcrew reads format 1; upgrade groundcrew"),
    ],
)
def test_an_unreadable_document_is_named_and_is_no_bug(
    read: Callable[[str, bytes], object], body: bytes, message: str
) -> None:
    with pytest.raises(Failed, match=f"^staging/some.json: {message}"):
        read("staging/some.json", body)


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (datetime(2026, 11, 21, 2, 0, tzinfo=UTC), "20261121T020000Z"),
        (datetime(2026, 11, 21, 2, 0, tzinfo=timezone(timedelta(hours=1))), "20261121T010000Z"),
    ],
)
def test_a_time_survives_in_a_key(time: datetime, written: str) -> None:
    assert key_timestamp(time) == written
    for name in (written, f"{written}.json", f"{written}-3f9a.json"):
        assert key_time(f"staging/runs/backup/shop/{name}") == time


@pytest.mark.parametrize("key", ["", "staging/runs/backup/shop/latest.json", "staging/runs/20261121T020000Z/x"])
def test_a_key_without_a_time_is_an_error(key: str) -> None:
    with pytest.raises(ValueError, match="does not start with a time"):
        key_time(key)


@dataclass(frozen=True)
class Moment:
    at: datetime


@dataclass(frozen=True)
class Nesting:
    one: Moment
    many: tuple[Moment, ...]
    named: dict[str, Moment]
    large: object


def test_dataclasses_at_any_depth_are_stored_without_a_copy_of_them() -> None:
    noon = Moment(datetime(2026, 11, 21, 12, tzinfo=UTC))
    document = Nesting(noon, (noon,), {"a": noon}, Path("/large"))
    stored = {"at": "2026-11-21T12:00:00Z"}
    fields = {"one": stored, "many": [stored], "named": {"a": stored}, "large": "/large"}
    body = documents.to_body(documents.document_fields(document))
    assert body == documents.to_body(asdict(document)) == documents.to_body(fields)
    assert documents.document_fields(document)["many"] is document.many


@dataclass(frozen=True)
class Counter:
    """A document of one number and one time."""

    count: int = 0
    at: datetime | None = None


def parse(fields: dict[str, Any]) -> Counter:
    return Counter(fields["count"], documents.from_iso(fields["at"]))


def test_an_update_starts_again_when_another_run_writes_first(tmp_path: Path) -> None:
    store, at = store_in(tmp_path), datetime(2026, 5, 5, tzinfo=UTC)
    seen: list[int] = []

    def increment(current: Counter) -> Counter:
        seen.append(current.count)
        if len(seen) == 1:  # another run creates the document
            store.create("a.json", documents.to_body({"count": 10, "at": None}))
        if len(seen) == 2:  # and changes it
            store.put("a.json", documents.to_body({"count": 20, "at": None}))
        return replace(current, count=current.count + 1, at=at)

    changed, version = documents.update(store, "a.json", increment, parse=parse, initial=Counter())
    assert seen == [0, 10, 20]
    assert changed == Counter(21, at)
    assert documents.read(store, "a.json", parse, Counter()) == (Counter(21, at), version)


def test_an_update_without_a_change_writes_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    changed = documents.update(store, "a.json", lambda current: current, parse=parse, initial=Counter(3))
    assert changed == (Counter(3), "")
    assert list(store.list()) == []
