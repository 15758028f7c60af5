"""What a set says about its database. It can be secret, so it is a part of its own, encrypted like all other parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jobs.backup.errors import UnreadableSet
from jobs.backup.postgres.settings import DatabaseProperties, require_valid_properties
from jobs.backup.sets.manifest import parse_section
from jobs.backup.sets.segments import Segment, require_valid
from jobs.run.documents import document_fields, from_body, to_body

_FORMAT = 2
_OLDEST_FORMAT = 1  # had no segments


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


@dataclass(frozen=True, slots=True)
class Description:
    """The database of a set, and its tables in the parts of single tables, by the name of the part."""

    settings: DatabaseProperties
    snapshot: str
    tables: tuple[TableRows, ...]
    sequences: tuple[SequenceValue, ...]
    extensions: tuple[Extension, ...]
    large_objects: int
    table_parts: Mapping[str, str]
    notes: tuple[str, ...] = ()
    segments: Mapping[str, Segment] = field(default_factory=dict)
    """What the parts of this kind hold, by the name of the part."""
    plain_money: bool = False
    """Whether amounts of type money have the format of lc_monetary = C; in older sets, that of the database."""

    @property
    def rows(self) -> int | None:
        """The number of rows of all tables, or None if any were not counted."""
        counts = [table.rows for table in self.tables]
        return None if None in counts else sum(count for count in counts if count is not None)


def encode_description(description: Description) -> bytes:
    """Return the description as it is compressed and encrypted."""
    return to_body(document_fields(description), _FORMAT)


def decode_description(body: bytes, key: str) -> Description:
    """Parse a description; its key is for error messages."""
    return from_body(key, body, _parse_description, UnreadableSet, _FORMAT, oldest=_OLDEST_FORMAT)


def _parse_description(body: dict[str, Any]) -> Description:
    return Description(
        settings=require_valid_properties(
            parse_section(DatabaseProperties, body["settings"], settings=tuple, privileges=tuple)
        ),
        snapshot=body["snapshot"],
        tables=tuple(parse_section(TableRows, table) for table in body["tables"]),
        sequences=tuple(parse_section(SequenceValue, sequence) for sequence in body["sequences"]),
        extensions=tuple(parse_section(Extension, extension) for extension in body["extensions"]),
        large_objects=body["large_objects"],
        table_parts=dict(body["table_parts"]),
        notes=tuple(body["notes"]),
        segments={name: _parse_segment(segment) for name, segment in body.get("segments", {}).items()},
        plain_money=body.get("plain_money", False),
    )


def _parse_segment(body: dict[str, Any]) -> Segment:
    return require_valid(parse_section(Segment, body, columns=tuple))
