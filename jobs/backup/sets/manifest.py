"""The manifest of a backup set. It is written last: a set without a manifest is incomplete."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from jobs.backup.errors import UnreadableSet
from jobs.backup.postgres.settings import DatabaseProperties
from jobs.run.documents import from_body, to_body

MANIFEST = "manifest.json"

_PART_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SET_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
_HASH = re.compile(r"[0-9a-f]+")
_VERSION = re.compile(r"[0-9]+(\.\S*)?")


class PartKind(StrEnum):
    """The contents of a part."""

    DEFINITIONS = "definitions"
    TABLE = "table"
    REST = "rest"
    ROLES = "roles"


@dataclass(frozen=True, slots=True)
class SourceServer:
    """The PostgreSQL server that the set was taken from."""

    version: str
    major: int
    system_identifier: str
    standby: bool


@dataclass(frozen=True, slots=True)
class PartPiece:
    """One stored object of a part, with its key relative to the set."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """One dumped and stored stream of a set."""

    name: str
    kind: PartKind
    table: str | None
    pieces: tuple[PartPiece, ...]
    size: int
    sha256: str
    dumped: int


@dataclass(frozen=True, slots=True)
class TableRows:
    """The number of rows of a table in the snapshot, or None if rows were not counted."""

    schema: str
    name: str
    rows: int | None
    bytes: int


@dataclass(frozen=True, slots=True)
class SequenceValue:
    """The last value of a sequence. Sequences ignore snapshots, so it can be later than the snapshot."""

    schema: str
    name: str
    last: int | None


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that a restored database needs."""

    name: str
    version: str
    schema: str


T = TypeVar("T", SourceServer, DatabaseProperties, PartPiece, Part, TableRows, SequenceValue, Extension)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a manifest."""

    set: str
    environment: str
    database: str
    started: datetime
    ended: datetime
    run: str
    tags: tuple[str, ...]
    server: SourceServer
    tools: Mapping[str, str]
    recipients: tuple[str, ...]
    settings: DatabaseProperties
    snapshot: str
    parts: tuple[Part, ...]
    tables: tuple[TableRows, ...]
    sequences: tuple[SequenceValue, ...]
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
        """The number of rows of all tables, or None if any were not counted."""
        counts = [table.rows for table in self.tables]
        return None if None in counts else sum(count for count in counts if count is not None)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as it is stored."""
    return to_body(
        {
            **asdict(manifest),
            "started": iso_timestamp(manifest.started),
            "ended": iso_timestamp(manifest.ended),
            "encryption": "age" if manifest.encrypted else "none",
            "dumped_bytes": manifest.dumped_bytes,
            "stored_bytes": manifest.stored_bytes,
        }
    )


def decode_manifest(body: bytes, key: str) -> Manifest:
    """Parse a stored manifest; its key is for error messages."""
    return from_body(key, body, _parse_checked_manifest, UnreadableSet)


def iso_timestamp(at: datetime) -> str:
    """Return a time in ISO format, in UTC, with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _parse_checked_manifest(body: dict[str, Any]) -> Manifest:
    manifest = _parse_manifest(body)
    for fault in manifest_faults(manifest):
        raise ValueError(fault)
    return manifest


def manifest_faults(manifest: Manifest) -> Iterator[str]:
    """Yield what is wrong with the names, keys and sizes of a manifest: they become paths, keys and messages."""
    if not _SET_ID.fullmatch(manifest.set):
        yield f"set {manifest.set!r} is not a set ID"
    for name in (manifest.environment, manifest.database):
        if not name.isprintable() or "/" in name or name in {"", ".", ".."}:
            yield f"{name!r} is not the name of an environment or database"
    if manifest.started.tzinfo is None or manifest.ended.tzinfo is None:
        yield "a time has no time zone"
    if not _VERSION.fullmatch(manifest.tools["pg_dump"]):
        yield "the version of pg_dump is not a version"
    names = [part.name for part in manifest.parts]
    if len(set(names)) < len(names):
        yield "two parts have the same name"
    for part in manifest.parts:
        yield from _part_faults(part)


def _part_faults(part: Part) -> Iterator[str]:
    if not _PART_NAME.fullmatch(part.name):
        yield f"{part.name!r} is not the name of a part"
    if [piece.key for piece in part.pieces] != [f"{part.name}.{number}" for number in range(len(part.pieces))]:
        yield f"the pieces of part {part.name} are not {part.name}.0, {part.name}.1 …"
    sizes = (part.size, part.dumped, *(piece.size for piece in part.pieces))
    if any(not isinstance(size, int) or size < 0 for size in sizes):
        yield f"a size in part {part.name} is not a number of bytes"
    if not _HASH.fullmatch(part.sha256):
        yield f"the hash of part {part.name} is not a hash"


def _parse_manifest(body: dict[str, Any]) -> Manifest:
    return Manifest(
        set=body["set"],
        environment=body["environment"],
        database=body["database"],
        started=datetime.fromisoformat(body["started"]),
        ended=datetime.fromisoformat(body["ended"]),
        run=body["run"],
        tags=tuple(body["tags"]),
        server=_parse(SourceServer, body["server"]),
        tools=dict(body["tools"]),
        recipients=tuple(body["recipients"]),
        settings=_parse(DatabaseProperties, {"private": False, **body["settings"]}, settings=tuple, privileges=tuple),
        snapshot=body["snapshot"],
        parts=tuple(_parse(Part, part, kind=PartKind, pieces=_pieces) for part in body["parts"]),
        tables=tuple(_parse(TableRows, table) for table in body["tables"]),
        sequences=tuple(_parse(SequenceValue, sequence) for sequence in body["sequences"]),
        extensions=tuple(_parse(Extension, extension) for extension in body["extensions"]),
        large_objects=body["large_objects"],
        notes=tuple(body["notes"]),
    )


def _pieces(pieces: list[dict[str, Any]]) -> tuple[PartPiece, ...]:
    return tuple(_parse(PartPiece, piece) for piece in pieces)


def _parse(section: type[T], body: dict[str, Any], /, **parsers: Callable[[Any], Any]) -> T:
    """Return a dataclass from its JSON; ignore unknown keys, which later versions of the same format can add."""
    known = {name: body[name] for name in section.__dataclass_fields__}
    return section(**{name: parsers[name](value) if name in parsers else value for name, value in known.items()})
