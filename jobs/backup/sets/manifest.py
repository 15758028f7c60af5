"""What a set says of itself: written last, so that a set without a manifest does not exist."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from jobs.backup.errors import Unreadable

FORMAT = 1
NAME = "manifest.json"


class PartKind(StrEnum):
    """What a part holds."""

    DEFINITIONS = "definitions"
    TABLE = "table"
    REST = "rest"
    ROLES = "roles"


@dataclass(frozen=True, slots=True)
class Server:
    """The server that a set was taken from."""

    version: str
    major: int
    system_identifier: str
    standby: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """What belongs to a database and is left out of every dump."""

    encoding: str
    collate: str
    ctype: str
    locale_provider: str
    locale: str | None
    owner: str
    comment: str | None
    connection_limit: int
    settings: tuple[str, ...] = ()
    privileges: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """One stored object of a part; its key is relative to the set."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """One stream of a set, as it was stored."""

    name: str
    kind: PartKind
    table: str | None
    pieces: tuple[Piece, ...]
    size: int
    sha256: str
    dumped: int


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows a table had inside the snapshot, if they were counted."""

    schema: str
    name: str
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class Last:
    """The last value of a sequence, which does not obey snapshots."""

    schema: str
    name: str
    last: int | None


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that a restored database will ask for."""

    name: str
    version: str
    schema: str


Shape = TypeVar("Shape", Server, Settings, Piece, Part, Rows, Last, Extension)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup set of one database."""

    set: str
    environment: str
    database: str
    started: datetime
    ended: datetime
    run: str
    tags: tuple[str, ...]
    server: Server
    tools: Mapping[str, str]
    recipients: tuple[str, ...]
    settings: Settings
    snapshot: str
    parts: tuple[Part, ...]
    tables: tuple[Rows, ...]
    sequences: tuple[Last, ...]
    extensions: tuple[Extension, ...]
    large_objects: int
    notes: tuple[str, ...] = field(default=())

    @property
    def encrypted(self) -> bool:
        return bool(self.recipients)

    @property
    def dumped_bytes(self) -> int:
        return sum(part.dumped for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(part.size for part in self.parts)

    @property
    def rows(self) -> int | None:
        """All rows together, or None where they weren't counted."""
        counts = [table.rows for table in self.tables]
        return None if None in counts else sum(count for count in counts if count is not None)


def written(manifest: Manifest) -> bytes:
    """The manifest as it is stored."""
    body = {
        "format": FORMAT,
        **asdict(manifest),
        "started": iso_timestamp(manifest.started),
        "ended": iso_timestamp(manifest.ended),
        "encryption": "age" if manifest.encrypted else "none",
        "dumped_bytes": manifest.dumped_bytes,
        "stored_bytes": manifest.stored_bytes,
    }
    return json.dumps(body, indent=1, ensure_ascii=False).encode()


def read(body: bytes, where: str) -> Manifest:
    """A stored manifest; `where` names it in errors."""
    found = parsed(body, where)
    try:
        return _manifest(found)
    except (KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{where} is damaged: {type(error).__name__} at {error}") from None


def parsed(body: bytes, where: str) -> dict[str, Any]:
    """A stored JSON object of a format that this groundcrew knows."""
    try:
        found = json.loads(body)
    except ValueError as error:
        raise Unreadable(f"{where} is damaged: {error}") from None
    if not isinstance(found, dict):
        raise Unreadable(f"{where} is damaged: it holds no object")
    if found.get("format") != FORMAT:
        raise Unreadable(f"{where} has format {found.get('format')}; this groundcrew reads {FORMAT}: use a newer one")
    return found


def iso_timestamp(at: datetime) -> str:
    """A moment as it is stored: ISO, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _manifest(body: dict[str, Any]) -> Manifest:
    return Manifest(
        set=body["set"],
        environment=body["environment"],
        database=body["database"],
        started=datetime.fromisoformat(body["started"]),
        ended=datetime.fromisoformat(body["ended"]),
        run=body["run"],
        tags=tuple(body["tags"]),
        server=_as(Server, body["server"]),
        tools=dict(body["tools"]),
        recipients=tuple(body["recipients"]),
        settings=_as(Settings, body["settings"], settings=tuple, privileges=tuple),
        snapshot=body["snapshot"],
        parts=tuple(_as(Part, part, kind=PartKind, pieces=_pieces) for part in body["parts"]),
        tables=tuple(_as(Rows, table) for table in body["tables"]),
        sequences=tuple(_as(Last, sequence) for sequence in body["sequences"]),
        extensions=tuple(_as(Extension, extension) for extension in body["extensions"]),
        large_objects=body["large_objects"],
        notes=tuple(body["notes"]),
    )


def _pieces(found: list[dict[str, Any]]) -> tuple[Piece, ...]:
    return tuple(_as(Piece, piece) for piece in found)


def _as(shape: type[Shape], body: dict[str, Any], /, **shaped: Callable[[Any], Any]) -> Shape:
    """One of the classes above from its JSON; keys that a later groundcrew of the same format added are left alone."""
    known = {name: body[name] for name in shape.__dataclass_fields__}
    return shape(**{name: shaped[name](value) if name in shaped else value for name, value in known.items()})
