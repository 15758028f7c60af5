"""The small JSON files of runs in the store: locks, records, alerts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from jobs.run.job import Failed

T = TypeVar("T")

FORMAT = 1


def to_body(fields: Mapping[str, Any]) -> bytes:
    """A document as it is stored."""
    return json.dumps({"format": FORMAT, **fields}, ensure_ascii=False, indent=1, default=str).encode()


def from_body(key: str, body: bytes, made_of: Callable[[dict[str, Any]], T]) -> T:
    """What a stored document says; Failed if it is none, or is written by a newer groundcrew than this."""
    try:
        fields = json.loads(body)
        written_as = fields.pop("format")
        if written_as == FORMAT:
            return made_of(fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Failed(f"{key}: is no document of groundcrew; look at it, and move it out of the store") from None
    raise Failed(f"{key}: has format {written_as}, and this groundcrew reads {FORMAT}; update groundcrew here")


def utc_now() -> datetime:
    return datetime.now(UTC)


def to_iso(moment: datetime | None, timespec: str = "auto") -> str | None:
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z") if moment else None


def to_second(moment: datetime | None) -> str | None:
    """A moment as `--json` tells it."""
    return to_iso(moment, "seconds")


def from_iso(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def key_timestamp(moment: datetime) -> str:
    """A moment as part of a key: sorts by time, and is short."""
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"
