"""One part on its way: a dump program, compression, encryption, the store; no temporary file in between."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from inventories import redact
from jobs.backup.concurrent import ByteCounter, Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import final
from jobs.backup.postgres.pipes import in_big_pieces, widen
from jobs.backup.sets.encryption import seal
from jobs.backup.sets.manifest import Part, Piece
from jobs.backup.take.parts import Planned
from jobs.run.job import Failed, Run, Transient
from jobs.store import Store, Stored

_AT_ONCE = 1 << 18
_LINES = 50
_LINE = 500

# What pg_dump says of a fault that another try may find gone.
_PASSES = (
    "connection to server was lost",
    "server closed the connection",
    "terminating connection",
    "could not connect",
    "connection to server",
    "could not receive data",
    "SSL SYSCALL error",
    "SSL connection has been closed",
    "the database system is",
    "invalid snapshot identifier",
    "could not import the requested snapshot",
    "conflict with recovery",
    "too many clients",
    "No space left on device",
)


class LockTimeout(Transient):
    """Somebody came between: a change of a table that waits for our lock, and that others wait behind."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What one part is streamed with."""

    run: Run
    store: Store
    prefix: str
    recipients: Sequence[str]
    stall: timedelta
    environment: Mapping[str, str]
    meter: ByteCounter
    ending: Cancellation

    def part(self, planned: Planned, argv: Sequence[str]) -> tuple[Part, tuple[str, ...]]:
        """The part as it was stored, and what its program warned of."""
        started = in_big_pieces(argv)
        program = self.run.process(started, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        words = _Words(_opened(program.stderr))
        try:
            with self.ending.ends(program.kill), self.store.upload(f"{self.prefix}{planned.name}") as upload:
                own = ByteCounter()
                seal(self._chunks(_opened(program.stdout), own), upload, self.recipients)
                _require_success(planned, program.wait(), words.lines())
                return _stored(planned, upload.complete(), own.bytes), words.lines()
        finally:
            _end(program)

    def _chunks(self, pipe: IO[bytes], own: ByteCounter) -> Iterator[memoryview]:
        """All that the program writes, piece by piece in one buffer: each is good until the next is asked for."""
        number, buffer = pipe.fileno(), memoryview(bytearray(_AT_ONCE))
        widen(pipe)
        ready = select.poll()
        ready.register(number, select.POLLIN)
        while True:
            if not ready.poll(self.stall.total_seconds() * 1000):
                raise Transient(f"the dump stalled: not a byte for {self.stall.total_seconds():g} s (limits.stall)")
            size = os.readv(number, [buffer])
            if not size:
                return
            self.run.check()
            own.add(size)
            self.meter.add(size)
            yield buffer[:size]


class _Words:
    """The last lines of what a program says on stderr, read while it runs so that it never waits for us."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while line := pipe.readline(_LINE):
                self._lines.append(redact(line.decode(errors="replace").strip()))

    def lines(self) -> tuple[str, ...]:
        """All of it, once the program has ended."""
        self._reader.join(timeout=5)
        return tuple(line for line in self._lines if line)


def _require_success(planned: Planned, code: int, words: Sequence[str]) -> None:
    if code != 0:
        raise fault(planned.name, code, words)


def fault(name: str, code: int, words: Sequence[str]) -> Failed | Transient:
    """Why a dump program failed, from what it said: its first error, and the detail that came with it."""
    said = " ".join(error_lines(words)) or f"exit code {code}"
    hidden = "permission denied" in said or "row-level security" in said
    sentence = f"part {name}: {said}" + (f"; {privileges.NEEDED}" if hidden else "")
    if "timeout" in said and "LOCK TABLE" in said:
        return LockTimeout(sentence)
    passing = code < 0 or any(sign in said for sign in _PASSES)
    return Transient(sentence) if passing and not final(said) else BackupError(sentence)


def error_lines(words: Sequence[str]) -> list[str]:
    """The lines that say what went wrong, without the query that was being asked."""
    errors = [line for line in words if "error:" in line] or list(words[-1:])
    details = [line for line in words if "detail:" in line.lower()]
    return [line for line in [*errors[:1], *details[:1]] if "Command was" not in line]


def _stored(planned: Planned, stored: Stored, dumped: int) -> Part:
    return Part(
        name=planned.name,
        kind=planned.kind,
        table=planned.table,
        pieces=tuple(Piece(piece.key.rpartition("/")[2], piece.size) for piece in stored.pieces),
        size=stored.size,
        sha256=stored.sha256,
        dumped=dumped,
    )


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the program was started without a pipe")
    return pipe


def _end(program: subprocess.Popen[bytes]) -> None:
    """Whatever happened, the program is gone and its pipe closed."""
    if program.poll() is None:
        program.kill()
        program.wait()
    _opened(program.stdout).close()
