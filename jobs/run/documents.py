"""The small JSON documents of runs in the store (locks, records, alerts), and the times in their keys."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jobs.run.field_types import require_types
from jobs.run.job import Failed
from jobs.store import Changed, Exists, Missing, Store

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

FORMAT = 1

CLOCK_SKEW = timedelta(minutes=5)
"""How far the clocks of two machines may differ. A later time in a document is ignored: it would hold for ever."""

_KEY_TIME = "%Y%m%dT%H%M%SZ"
_KEY_TIME_FORM = re.compile(r"\d{8}T\d{6}Z")
_KEY_TIME_LENGTH = len("20261121T020000Z")


def to_body(contents: Mapping[str, Any], number: int = FORMAT) -> bytes:
    """Return a document as JSON with its format number."""
    text = json.dumps({"format": number, **contents}, ensure_ascii=False, indent=1, default=_json_value)
    return text.encode(errors="backslashreplace")  # UTF-8 cannot hold half of a surrogate pair; JSON can, as an escape


def document_fields(document: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a dataclass for to_body(), without the copies of all nested values that asdict() makes."""
    return {each.name: getattr(document, each.name) for each in dataclasses.fields(document)}


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return to_iso(value)
    return document_fields(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else str(value)


def from_body(
    key: str,
    body: bytes,
    parse: Callable[[dict[str, Any]], T],
    failed: type[Failed] = Failed,
    number: int = FORMAT,
    *,
    oldest: int | None = None,
) -> T:
    """Return the parsed document; raise `failed` if it is damaged or has another format number.

    `oldest` is the lowest number that is read, too (default: only `number`).
    """
    try:
        fields = json.loads(body)
        written_format, first = fields.pop("format"), number if oldest is None else oldest
        if first <= written_format <= number:
            return _checked(parse(fields))
        is_older = written_format < first
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise failed(
            f"{key}: this is not a document of groundcrew ({type(error).__name__}: {error}); "
            "inspect it and move it out of the store"
        ) from None
    remedy = "it was written before the first release; move it out of the store" if is_older else "upgrade groundcrew"
    formats = f"format {number}" if first == number else f"formats {first} to {number}"
    raise failed(f"{key}: has format {written_format}; this version of groundcrew reads {formats}; {remedy}")


def _checked(document: T) -> T:
    """Return a parsed document; ValueError if it is a dataclass with a value of another type."""
    if dataclasses.is_dataclass(document):
        require_types(document, type(document))
    return document


def read(store: Store, key: str, parse: Callable[[dict[str, Any]], T], initial: T) -> tuple[T, str]:
    """Return a stored document and its version; `initial` and no version if there is none."""
    try:
        stored = store.get(key)
    except Missing:
        return initial, ""
    return from_body(key, stored.body, parse), stored.version


def update(
    store: Store, key: str, change: Callable[[T], T], *, parse: Callable[[dict[str, Any]], T], initial: T
) -> tuple[T, str]:
    """Change a document, a dataclass, by compare-and-swap; return it as it is stored now, and its version.

    `change` is called again with the new document whenever another run writes first.
    """
    while True:
        current, version = read(store, key, parse, initial)
        changed = change(current)
        if changed == current:
            return current, version
        body = to_body(document_fields(cast("DataclassInstance", changed)))
        with suppress(Changed, Exists, Missing):
            return changed, store.replace(key, body, version) if version else store.create(key, body)


def utc_now() -> datetime:
    return datetime.now(UTC)


def to_iso(time: datetime | None, timespec: str = "auto") -> str | None:
    return time.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z") if time else None


def to_second(time: datetime | None) -> str | None:
    """Return a time to the second, as `--json` prints it."""
    return to_iso(time, "seconds")


def from_iso(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def key_timestamp(time: datetime) -> str:
    """Return a time as part of a key: short, and sorted by time."""
    return f"{time.astimezone(UTC):{_KEY_TIME}}"


def key_time(key: str) -> datetime:
    """Return the time at the start of a key's last level, as key_timestamp() wrote it; ValueError if there is none."""
    written = key.rpartition("/")[2][:_KEY_TIME_LENGTH]
    if not _KEY_TIME_FORM.fullmatch(written):
        raise ValueError(f"{key} does not start with a time")
    return datetime.fromisoformat(written)  # five times faster than strptime, for listings of many thousand keys
