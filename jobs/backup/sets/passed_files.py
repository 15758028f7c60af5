"""Temporary files that child programs can open by path, and that remove themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import IO

_OPEN_FILES = Path("/proc/self/fd")


def new_file() -> IO[bytes]:
    """Return a new private file. On systems with /proc it has no name, so nothing is left after a crash."""
    return tempfile.TemporaryFile() if _OPEN_FILES.is_dir() else tempfile.NamedTemporaryFile(prefix="groundcrew-")


def path_for_child(file: IO[bytes]) -> Path:
    """Return the path under which a child program can open the file. Start it with the descriptor in `pass_fds`."""
    return Path(file.name) if isinstance(file.name, str) else _OPEN_FILES / str(file.fileno())
