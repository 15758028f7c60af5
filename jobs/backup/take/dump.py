"""Stream one part: dump program, compression, encryption, store. No temporary file is used."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from jobs.backup.concurrent import ByteCounter, Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres import privileges
from jobs.backup.postgres.connection import LOCK_HINT, OUT_OF_LOCKS, is_permanent
from jobs.backup.postgres.pipes import enlarge_pipe, with_large_buffers
from jobs.backup.postgres.program_errors import error_line, own_lines, stderr_lines
from jobs.backup.sets.description import Description, encode_description
from jobs.backup.sets.manifest import Part, PartKind
from jobs.backup.sets.writing import PartWriter
from jobs.backup.take.definitions import Chunks, DefinitionsCopy
from jobs.backup.take.parts import PlannedPart
from jobs.run.job import Failed, Run, Transient
from jobs.store import ObjectLock, Store, Upload

_READ_SIZE = 1 << 18
_MAX_LINES = 50

# Error texts of pg_dump after which a retry can succeed.
_TRANSIENT = (
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
    """pg_dump waited too long for a table lock, because another session's change of the table is ahead in the queue."""


@dataclass(frozen=True, slots=True)
class PartStream:
    """Streams the parts of a set from dump programs into the store."""

    run: Run
    store: Store
    prefix: str
    recipients: Sequence[str]
    lock: ObjectLock | None
    stall: timedelta
    environment: Mapping[str, str]
    total: ByteCounter
    cancellation: Cancellation
    compression: int
    first: int = 0
    """The number of the first object of each part."""

    def dump(
        self,
        planned: PlannedPart,
        argv: Sequence[str],
        watch: Callable[[Chunks], Chunks] = lambda chunks: chunks,
    ) -> tuple[Part, tuple[str, ...]]:
        """Dump one part into the store; return it with the warnings of its program. `watch` sees what is dumped."""
        command = with_large_buffers(argv)
        program = self.run.process(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stderr = _Stderr(_pipe(program.stderr))
        enlarge_pipe(_pipe(program.stdout))
        try:
            with (
                self.cancellation.on_cancel(program.kill),
                self._upload(planned) as upload,
                closing(watch(self._output(planned.name, program, stderr))) as chunks,
            ):
                dumped, writer = ByteCounter(), PartWriter(upload, self.recipients, compression=self.compression)
                writer.write_all(_counted(chunks, dumped))
                return writer.complete(planned.name, planned.kind, dumped.bytes), own_lines(stderr.lines())
        finally:
            _end(program)

    def store_definitions(self, planned: PlannedPart, copy: DefinitionsCopy) -> tuple[Part, tuple[str, ...]]:
        """Store what another thread copies as the part of the definitions."""
        with (
            copy.cancellation.on_cancel(copy.cancel),
            self._upload(planned) as upload,
        ):
            dumped, writer = ByteCounter(), PartWriter(upload, self.recipients, compression=self.compression)
            writer.write_all(_counted(self._chunks(copy.reader), dumped))
            self.cancellation.check()
            return writer.complete(planned.name, planned.kind, dumped.bytes), ()

    def store_bytes(self, planned: PlannedPart, body: bytes) -> Part:
        """Store bytes as a part."""
        with self._upload(planned) as upload:
            writer = PartWriter(upload, self.recipients, compression=self.compression)
            writer.write_all([body])
            self.total.add(len(body))
            return writer.complete(planned.name, planned.kind, len(body))

    def _upload(self, planned: PlannedPart) -> Upload:
        return self.store.upload(f"{self.prefix}{planned.name}", self.first, lock=self.lock)

    def _output(self, name: str, program: subprocess.Popen[bytes], stderr: _Stderr) -> Chunks:
        """Yield the output of a program; raise at its end if the program failed."""
        yield from self._chunks(_pipe(program.stdout))
        if code := program.wait():
            raise dump_error(name, code, stderr.lines())

    def _chunks(self, source: IO[bytes] | socket.socket) -> Chunks:
        """Yield what can be read in one reused buffer: each chunk is valid only until the next one."""
        number, buffer = source.fileno(), memoryview(bytearray(_READ_SIZE))
        ready = select.poll()
        ready.register(number, select.POLLIN)
        while True:
            if not ready.poll(self.stall.total_seconds() * 1000):
                raise Transient(f"the dump stalled: no output for {self.stall.total_seconds():g} s (limits.stall)")
            size = os.readv(number, [buffer])
            if not size:
                return
            self.run.check()
            self.total.add(size)
            yield buffer[:size]


def _counted(chunks: Chunks, dumped: ByteCounter) -> Chunks:
    for chunk in chunks:
        dumped.add(len(chunk))
        yield chunk


class _Stderr:
    """The first and last lines of stderr. A thread reads them, so that the program never blocks on a full pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._first: list[str] = []
        self._last: deque[str] = deque(maxlen=_MAX_LINES)
        self._reader = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in stderr_lines(pipe):
                (self._first if len(self._first) < _MAX_LINES else self._last).append(line)

    def lines(self) -> tuple[str, ...]:
        """Return the lines. Call it after the program has ended."""
        self._reader.join(timeout=5)
        return (*self._first, *self._last)


def dump_error(name: str, code: int, stderr: Sequence[str]) -> Failed | Transient:
    """Return the error of a failed dump program, from what it printed."""
    reason = error_line(stderr) or f"exit code {code}"
    output = " ".join([reason, *own_lines(stderr)])
    lacks_privileges = "permission denied" in reason or "row-level security" in reason
    sentence = f"part {name}: {reason}" + (f"; {privileges.NEEDED_PRIVILEGES}" if lacks_privileges else "")
    if OUT_OF_LOCKS in output:
        return BackupError(f"{sentence}; {LOCK_HINT}")
    if "timeout" in output and ("LOCK TABLE" in output or "due to lock timeout" in output):
        return LockTimeout(sentence)
    is_transient = code < 0 or any(text in output for text in _TRANSIENT)
    return Transient(sentence) if is_transient and not is_permanent(output) else BackupError(sentence)


def store_description(
    store: Store,
    prefix: str,
    recipients: Sequence[str],
    description: Description,
    *,
    lock: ObjectLock | None = None,
    first: int = 0,
) -> Part:
    """Store the description of a set as a part."""
    body = encode_description(description)
    with store.upload(f"{prefix}{PartKind.DESCRIPTION}", first, lock=lock) as upload:
        writer = PartWriter(upload, recipients)
        writer.write_all([body])
        return writer.complete(PartKind.DESCRIPTION.value, PartKind.DESCRIPTION, len(body))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the program was started without a pipe")
    return pipe


def _end(program: subprocess.Popen[bytes]) -> None:
    """End the program if it still runs, and close its pipe."""
    if program.poll() is None:
        program.kill()
        program.wait()
    _pipe(program.stdout).close()
