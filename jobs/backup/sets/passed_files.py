"""Files that programs are handed to open themselves, and that nobody has to remove."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

_OPEN_FILES = Path("/proc/self/fd")


def file() -> IO[bytes]:
    """A new file, which only we can read: where the system allows it one without a name, gone with whoever has it."""
    return tempfile.TemporaryFile() if _OPEN_FILES.is_dir() else tempfile.NamedTemporaryFile(prefix="groundcrew-")


def path(file: IO[bytes]) -> Path:
    """Where a program finds it that was started with its descriptor (`pass_fds`), as often as it likes."""
    return Path(file.name) if isinstance(file.name, str) else _OPEN_FILES / str(file.fileno())
