"""Write one part of a set, decrypted and decompressed, to a file or to stdout."""

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
from jobs.backup.sets.stored import StoredSet, read_part

STDOUT = "-"


def find_part(stored: StoredSet, name: str) -> Part:
    """Return the part with this name."""
    for part in stored.manifest.parts:
        if part.name == name:
            return part
    names = ", ".join(part.name for part in stored.manifest.parts)
    raise BackupError(f"set {stored.manifest.set} has no part {name}; it has {names}")


def default_file(stored: StoredSet, part: Part) -> Path:
    """Return the default file name: .sql for scripts, .json for the description, .dump for archives of pg_restore."""
    endings = {PartKind.ROLES: "sql", PartKind.SEGMENT: "sql", PartKind.DESCRIPTION: "json"}
    ending = endings.get(part.kind, "dump")
    return Path(f"{stored.manifest.database}-{stored.manifest.set}-{part.name}.{ending}")


def write_part(stored: StoredSet, part: Part, to: str | None, check: Callable[[], None]) -> int:
    """Write the part, check its hash, and return its size in bytes."""
    with _new_private_file(Path(to) if to else default_file(stored, part)) if to != STDOUT else _stdout() as sink:
        counted = _CountingSink(sink)
        read_part(stored, part, counted, check)
        return counted.bytes


@contextmanager
def _stdout() -> Iterator[IO[bytes]]:
    out = sys.stdout.buffer
    if stat.S_ISCHR(os.fstat(out.fileno()).st_mode) and out.isatty():
        raise BackupError(
            "a part is binary and cannot be printed on a terminal; name a file with --to, or pipe it to a program"
        )
    yield out
    out.flush()


@contextmanager
def _new_private_file(file: Path) -> Iterator[IO[bytes]]:
    """Yield a new file that only its owner can read; remove it again if anything fails."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(f"{file} exists already; remove it, or name another file with --to") from None
    except OSError as error:
        raise BackupError(f"{file} cannot be written ({error.strerror}); name another file with --to") from None
    try:
        with os.fdopen(number, "wb") as opened:
            yield opened
    except BaseException:
        file.unlink(missing_ok=True)
        raise


class _CountingSink:
    """A sink that counts the bytes it passes on."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.bytes = 0

    def write(self, body: bytes) -> None:
        self.bytes += len(body)
        self._sink.write(body)
