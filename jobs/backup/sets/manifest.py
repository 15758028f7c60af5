"""The manifest of a backup set: what listing, copying and checking it need. It is stored in clear.

All that describes the database is in a part of its own, see description.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from jobs.backup.errors import UnreadableSet
from jobs.run.documents import document_fields, from_body, to_body

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MANIFEST = "manifest.json"
_FORMAT = 3
_OLDEST_FORMAT = 2  # had no segments. Format 1 described the database in clear; no release wrote it
FIRST_BYTES = 4 << 20
"""So many stored bytes of a part are checked before any of it is used, see Part.first_sha256."""

NUMBERS_PER_TRY = 10_000
"""Each try to upload a part numbers its objects from another multiple of this: 0, 10000, 20000. A request of an earlier
try can arrive late, or have arrived although its answer was lost, and no object may be overwritten."""

_PART_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SET_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
_HASH = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_VERSION = re.compile(r"[0-9]+(\.\S*)?")

T = TypeVar("T", bound="DataclassInstance")


class PartKind(StrEnum):
    """The contents of a part."""

    DEFINITIONS = "definitions"
    TABLE = "table"
    """All rows of a big table, as an archive of pg_dump. Sets of format 3 have segments instead."""
    SEGMENT = "segment"
    """Rows of a big table as a script for psql, see segments.py."""
    REST = "rest"
    ROLES = "roles"
    DESCRIPTION = "description"


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
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """One stored stream of a set."""

    name: str
    kind: PartKind
    pieces: tuple[PartPiece, ...]
    first_sha256: str
    """The hash of the first FIRST_BYTES stored bytes, which is checked before any of them is used.

    They hold age's header: without the secret key, nobody can make other bytes that decrypt after the same header. If
    the set is not encrypted, they hold all statements in the part of a table. Only rows of a segment are used. The rest
    begins with the definitions, see read_part(). All other parts are read whole before they are used.
    """
    dumped: int

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


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
    parts: tuple[Part, ...]

    @property
    def encrypted(self) -> bool:
        return bool(self.recipients)

    @property
    def dumped_bytes(self) -> int:
        return sum(part.dumped for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        return sum(part.size for part in self.parts)


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest as it is stored."""
    return to_body(
        {
            **document_fields(manifest),
            "started": iso_timestamp(manifest.started),
            "ended": iso_timestamp(manifest.ended),
            "encryption": "age" if manifest.encrypted else "none",
            "dumped_bytes": manifest.dumped_bytes,
            "stored_bytes": manifest.stored_bytes,
        },
        _FORMAT,
    )


def decode_manifest(body: bytes, key: str) -> Manifest:
    """Parse a stored manifest; its key is for error messages."""
    return from_body(key, body, _parse_checked_manifest, UnreadableSet, _FORMAT, oldest=_OLDEST_FORMAT)


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
        yield "a time has no timezone"
    if not _VERSION.fullmatch(manifest.tools["pg_dump"]):
        yield "the version of pg_dump is not a version"
    names = [part.name for part in manifest.parts]
    if len(set(names)) < len(names):
        yield "two parts have the same name"
    for kind in (PartKind.DEFINITIONS, PartKind.DESCRIPTION):
        if [part.kind for part in manifest.parts].count(kind) != 1:
            yield f"it does not have one part with the {kind}"
    for part in manifest.parts:
        yield from _part_faults(part)


def _part_faults(part: Part) -> Iterator[str]:
    if not _PART_NAME.fullmatch(part.name):
        yield f"{part.name!r} is not the name of a part"
    if not _are_in_sequence(part):
        yield f"the pieces of part {part.name} are not numbered consecutively"
    sizes = (part.dumped, *(piece.size for piece in part.pieces))
    if any(not isinstance(size, int) or size < 0 for size in sizes):
        yield f"a size in part {part.name} is not a number of bytes"
    if not all(_HASH.fullmatch(each) for each in (part.first_sha256, *(piece.sha256 for piece in part.pieces))):
        yield f"a hash in part {part.name} is not a hash"


def _are_in_sequence(part: Part) -> bool:
    """Whether the pieces have consecutive numbers. A part that was dumped again does not begin with 0."""
    first = part.pieces[0].key.rpartition(".")[2] if part.pieces else "0"
    if not _NUMBER.fullmatch(first):
        return False
    return [piece.key for piece in part.pieces] == [
        f"{part.name}.{number}" for number in range(int(first), int(first) + len(part.pieces))
    ]


def _parse_manifest(body: dict[str, Any]) -> Manifest:
    return Manifest(
        set=body["set"],
        environment=body["environment"],
        database=body["database"],
        started=datetime.fromisoformat(body["started"]),
        ended=datetime.fromisoformat(body["ended"]),
        run=body["run"],
        tags=tuple(body["tags"]),
        server=parse_section(SourceServer, body["server"]),
        tools=dict(body["tools"]),
        recipients=tuple(body["recipients"]),
        parts=tuple(parse_section(Part, part, kind=PartKind, pieces=_pieces) for part in body["parts"]),
    )


def _pieces(pieces: list[dict[str, Any]]) -> tuple[PartPiece, ...]:
    return tuple(parse_section(PartPiece, piece) for piece in pieces)


def parse_section(section: type[T], body: dict[str, Any], /, **parsers: Callable[[Any], Any]) -> T:
    """Return a dataclass from its JSON; ignore unknown keys, which later versions of the same format can add."""
    known = {name: body[name] for name in section.__dataclass_fields__}
    return section(**{name: parsers[name](value) if name in parsers else value for name, value in known.items()})
