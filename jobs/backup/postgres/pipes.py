"""Larger buffers for pipes to PostgreSQL's programs. Their default of 4 KiB costs too many system calls."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031  # Python's fcntl has the name on Linux only


def with_large_buffers(argv: Sequence[str]) -> list[str]:
    """Return the command with 64 KiB buffers on stdin and stdout, if coreutils' stdbuf is installed."""
    stdbuf = shutil.which("stdbuf")
    return [*([stdbuf, "--input=64K", "--output=64K"] if stdbuf else []), *argv]


def enlarge_pipe(pipe: IO[bytes]) -> None:
    """Let the pipe hold 1 MiB, so that its two ends wait less for each other. Do nothing if the system refuses."""
    with suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _F_SETPIPE_SZ, _PIPE_SIZE)
