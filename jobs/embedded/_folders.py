"""Temporary directories in which hostile code can leave any files."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new directory, and remove it at the end, whatever is in it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Remove a directory with all that is in it. What cannot be removed stays.

    `rm` neither follows links nor fails on deep trees, where shutil.rmtree exceeds Python's recursion limit.
    """
    with suppress(OSError):
        if folder.is_symlink() or not folder.is_dir():
            return
        if rm := shutil.which("rm"):
            subprocess.run([rm, "-rf", "--", str(folder)], stderr=subprocess.DEVNULL, check=False)
        else:
            shutil.rmtree(folder, ignore_errors=True)
