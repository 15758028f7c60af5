"""Keys as file paths. Every key has a path on every file system, and the path leads back to the same key."""

from __future__ import annotations

import os
import re

FILE_SUFFIX = "%"
CONTINUED_SUFFIX = "%~"
_LONGEST_NAME = 240
_EMPTY = b"%-"
_RESERVED = {b"": _EMPTY, b".": b"%2E", b"..": b"%2E%2E"}
_UNSAFE = re.compile(rb"[\x00-\x1f\x7f%]")
_ESCAPED = re.compile(rb"%([0-9A-F]{2})")


def file_names(level: str) -> list[str]:
    """Return the file names for one level of a key. A long level needs several; all but the last end in `%~`."""
    raw = level.encode()
    name = _RESERVED.get(raw) or _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw)
    chunks = [os.fsdecode(name[start : start + _LONGEST_NAME]) for start in range(0, len(name), _LONGEST_NAME)]
    return [chunk + CONTINUED_SUFFIX for chunk in chunks[:-1]] + chunks[-1:]


def key_level(names: list[str]) -> str:
    """Return the level of a key for file names: the inverse of file_names()."""
    joined = b"".join(os.fsencode(name.removesuffix(CONTINUED_SUFFIX)) for name in names)
    name = joined.removesuffix(FILE_SUFFIX.encode())
    return "" if name == _EMPTY else _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), name).decode()
