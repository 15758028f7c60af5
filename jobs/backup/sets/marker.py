"""The marker of a set: an empty object whose name says all that a listing needs about the set's manifest.

The name has the time at which the set ended, whether it is encrypted, the hash of the manifest, and a signature of all
that. So a listing shows which sets to trust, and a manifest cannot be exchanged under its marker.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from jobs.backup.sets.manifest import Manifest
from jobs.backup.sets.results import parse_precise_timestamp, precise_timestamp

MARKER = "ended/"

_NAME = re.compile(rf"{MARKER}([0-9TZ.]{{20}})-(age|plain)-([0-9a-f]{{64}})(-[0-9a-f]{{128}})?")


@dataclass(frozen=True, slots=True)
class Marker:
    """What the name of a marker says."""

    name: str
    ended: datetime
    among: int = 1
    """How many markers the set has."""

    @property
    def encrypted(self) -> bool:
        return self._fields[1] == "age"

    @property
    def manifest_sha256(self) -> str:
        return self._fields[2]

    @property
    def signed(self) -> bool:
        return len(self._fields) > 3

    @property
    def _fields(self) -> list[str]:
        return self.name.split("-")


def marker_name(manifest: Manifest, body: bytes) -> str:
    """Return the name of a set's marker in the set, without a signature; `body` is the stored manifest."""
    encryption = "age" if manifest.encrypted else "plain"
    return f"{MARKER}{precise_timestamp(manifest.ended)}-{encryption}-{hashlib.sha256(body).hexdigest()}"


def parse_markers(names: Iterable[str]) -> list[Marker]:
    """Return the markers among the names of a set's keys. A set has one; somebody else can have added others."""
    return [
        Marker(name, ended)
        for name in names
        if _NAME.fullmatch(name)
        and (ended := parse_precise_timestamp(name[len(MARKER) :].partition("-")[0])) is not None
    ]
