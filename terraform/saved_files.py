"""Files of saved plans. They contain secrets, and `apply --saved` does what the file says."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from terraform.errors import StackError


def require_closed(folder: Path) -> None:
    """Raise if every user of this machine can write to the directory: they could put other plans there."""
    if folder.stat().st_mode & stat.S_IWOTH:
        raise StackError(
            f"{folder}: every user of this machine can write to this directory, so somebody else could change the "
            f"plans in it; chmod o-w {folder}, or name another directory"
        )


def write_private(file: Path, body: bytes) -> None:
    """Write a file that only its owner can read. A file or link of that name is replaced, never opened."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(body)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
