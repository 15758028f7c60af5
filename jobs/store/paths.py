"""Keys as paths: whatever a key holds, a file system can hold its name, and the way back is exact."""

from __future__ import annotations

import os
import re

FILE_SUFFIX = "%"
CONTINUED_SUFFIX = "%~"
_LONGEST = 240
_EMPTY = b"%-"
_WHOLE = {b"": _EMPTY, b".": b"%2E", b"..": b"%2E%2E"}
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f%]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def file_names(level: str) -> list[str]:
    """The names of one level of a key; a very long level takes several, each but the last ending in `%~`."""
    raw = level.encode()
    name = _WHOLE.get(raw) or _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw)
    chunks = [os.fsdecode(name[at : at + _LONGEST]) for at in range(0, len(name), _LONGEST)]
    return [chunk + CONTINUED_SUFFIX for chunk in chunks[:-1]] + chunks[-1:]


def key_level(names: list[str]) -> str:
    """The level of a key that these names stand for: the way back from `names_of`."""
    name = b"".join(os.fsencode(part.removesuffix(CONTINUED_SUFFIX)) for part in names).removesuffix(
        FILE_SUFFIX.encode()
    )
    return "" if name == _EMPTY else _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), name).decode()
