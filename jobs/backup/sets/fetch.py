"""One part of a set, decrypted and decompressed, into a file or a pipe."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobs.backup.errors import BackupError
from jobs.backup.sets.encryption import Sink
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.stored import StoredSet, pour

STDOUT = "-"


def part_named(stored: StoredSet, name: str) -> Part:
    """The part of this name."""
    for part in stored.manifest.parts:
        if part.name == name:
            return part
    names = ", ".join(part.name for part in stored.manifest.parts)
    raise BackupError(f"set {stored.manifest.set} has no part {name}; it has {names}")


def file_for(stored: StoredSet, part: Part) -> Path:
    """What the file is called if nobody says: roles are SQL, everything else is an archive for pg_restore."""
    ending = "sql" if part.kind is PartKind.ROLES else "dump"
    return Path(f"{stored.manifest.database}-{stored.manifest.set}-{part.name}.{ending}")


def fetch(stored: StoredSet, part: Part, to: str | None, check: Callable[[], None]) -> int:
    """Write the part, checked against its hash, and return how many bytes it has."""
    with _opened(Path(to) if to else file_for(stored, part)) if to != STDOUT else _stdout() as sink:
        counted = _Counted(sink)
        pour(stored, part, counted, check)
        return counted.bytes


@contextmanager
def _stdout() -> Iterator[IO[bytes]]:
    out = sys.stdout.buffer
    if stat.S_ISCHR(os.fstat(out.fileno()).st_mode) and out.isatty():
        raise BackupError("a part is no text for a terminal: name a file with --to, or pipe it to pg_restore")
    yield out
    out.flush()


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """A new file that only its owner may read; gone again if the part was not what it should be."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(f"{file} is there already; remove it, or name another with --to") from None
    except OSError as error:
        raise BackupError(f"{file} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(number, "wb") as opened:
            yield opened
    except BaseException:
        file.unlink(missing_ok=True)
        raise


class _Counted:
    """A sink that counts what passes."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.bytes = 0

    def write(self, body: bytes) -> None:
        self.bytes += len(body)
        self._sink.write(body)
