"""Take the definitions from the archive of the rest while it is dumped: one pg_dump locks the tables once for both."""

from __future__ import annotations

import fcntl
import itertools
import socket
import subprocess
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import IO

from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres.programs import ClientProgram
from jobs.run.job import Run

Chunks = Generator[memoryview, None, None]
"""The bytes of an archive. Each chunk is valid only until the next one."""

# The copy has at most this much more than the definitions in the buffers of pg_restore and of the pipe, each.
_STEP = 4096
_SMALL_ARCHIVE = 64 << 10  # a second program would cost more than what it saves
_F_SETPIPE_SZ = 1031  # Python's fcntl has the name on Linux only


class DefinitionsCopy:
    """The start of an archive, read from `reader` by another thread. An archive has its definitions before all rows.

    The format of archives changes between versions. So pg_restore finds the end of the definitions: it stops reading
    there when it lists the archive. A small archive is copied as a whole.
    """

    def __init__(self, cancellation: Cancellation) -> None:
        self.reader, self._writer = socket.socketpair()
        self.cancellation = cancellation

    def copied_from(self, chunks: Iterator[memoryview], run: Run, lister: ClientProgram) -> Chunks:
        """Yield all chunks. Copy the first ones, until `pg_restore --list` has read enough."""
        first, more = _read_first(chunks)
        if not more:
            with self.cancellation.on_cancel(self.cancel):
                self._writer.sendall(first)
                self._writer.shutdown(socket.SHUT_WR)
                yield memoryview(first)
            return
        yield from self._copied_until_listed(itertools.chain([memoryview(first)], chunks), run, lister)

    def _copied_until_listed(self, chunks: Iterator[memoryview], run: Run, lister: ClientProgram) -> Chunks:
        program = run.process(
            [lister.path, "--list"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert program.stdin is not None
        _shrink(program.stdin)
        try:
            with self.cancellation.on_cancel(self.cancel):
                copying = True
                for chunk in chunks:
                    if copying and not self._copy(chunk, program.stdin):
                        copying = False
                        self._end(program, program.stdin)
                    yield chunk
                if copying:
                    self._end(program, program.stdin)
        finally:
            if program.poll() is None:
                program.kill()
                program.wait()
            with suppress(OSError):
                program.stdin.close()

    def _copy(self, chunk: memoryview, pipe: IO[bytes]) -> bool:
        """Copy a chunk; return whether the program reads on."""
        for start in range(0, len(chunk), _STEP):
            step = chunk[start : start + _STEP]
            try:
                _write(pipe, step)
            except BrokenPipeError:
                return False
            self._writer.sendall(step)
        return True

    def _end(self, program: subprocess.Popen[bytes], pipe: IO[bytes]) -> None:
        with suppress(OSError):
            pipe.close()
        if code := program.wait():
            raise BackupError(f"pg_restore --list of what pg_dump wrote failed with exit code {code}")
        self._writer.shutdown(socket.SHUT_WR)

    def cancel(self) -> None:
        """Let neither side wait for the other."""
        with suppress(OSError):
            self._writer.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.reader.close()
        self._writer.close()


def _read_first(chunks: Iterator[memoryview]) -> tuple[bytes, bool]:
    """Return the first bytes, and whether there can be more: False if the archive is small."""
    first = bytearray()
    for chunk in chunks:
        first += chunk
        if len(first) > _SMALL_ARCHIVE:
            return bytes(first), True
    return bytes(first), False


def _write(pipe: IO[bytes], body: memoryview) -> None:
    while body:
        body = body[pipe.write(body) :]


def _shrink(pipe: IO[bytes]) -> None:
    """Let the pipe hold one step, so that little more than the definitions is copied."""
    with suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _STEP)
