"""Files of saved plans. They contain secrets, and `apply --saved` does what the file says."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from terraform.errors import StackError


def require_closed(path: Path) -> None:
    """Raise if another user than ourselves and root can write to a directory or file: they could exchange the plan."""
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise StackError(
            f"{path}: another user owns this, so they could exchange the plan; save it to a directory of your "
            "own, or copy it there"
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StackError(
            f"{path}: other users of this machine can write to this, so they could exchange the plan; "
            f"chmod go-w {path}, or name another directory"
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
