"""Pipes to and from PostgreSQL's programs, which by themselves write and read 4 KiB at a time: that keeps both busy."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

_SIZE = 1 << 20
_SET_SIZE = 1031  # F_SETPIPE_SZ, which fcntl names on Linux only


def in_big_pieces(argv: Sequence[str]) -> list[str]:
    """The same program reading and writing 64 KiB at a time, where coreutils has what makes it."""
    stdbuf = shutil.which("stdbuf")
    return [*([stdbuf, "--input=64K", "--output=64K"] if stdbuf else []), *argv]


def widen(pipe: IO[bytes]) -> None:
    """Let more wait in a pipe, so that its ends wait less for each other; not where the system won't."""
    with suppress(OSError):
        fcntl.fcntl(pipe.fileno(), _SET_SIZE, _SIZE)
