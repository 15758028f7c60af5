"""Where tests write: into memory, if there is enough, since most files of a test exist for a second only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SHARED = Path("/dev/shm")
DISK = "/tmp"  # for what a program in a sandbox reads, because a sandbox has its own /dev
ENOUGH = 8 << 30  # a whole run needs about a third of it


def folder(shared: Path = SHARED, meminfo: Path = Path("/proc/meminfo")) -> Path | None:
    """A file system in memory, with room for a whole run; None if there is none."""
    try:
        system, available = os.statvfs(shared), _available(meminfo.read_text())
    except OSError:
        return None
    programs_start = not system.f_flag & os.ST_NOEXEC
    return shared if programs_start and min(system.f_bavail * system.f_frsize, available) >= ENOUGH else None


def _available(meminfo: str) -> int:
    lines = dict(line.split(":") for line in meminfo.splitlines())
    return int(lines["MemAvailable"].split()[0]) << 10


def write_there() -> None:
    """Make it the folder for temporary files of this process and its children, unless the user names another one."""
    if made := folder():
        os.environ.setdefault("TMPDIR", str(made))
        tempfile.tempdir = None  # it keeps the folder that it has found before
