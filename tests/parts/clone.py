"""A fresh clone of this repository that shares what `make setup` has installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = (".venv", "tests/parts/npm/node_modules", ".cache/parts")
INSTALLED_FROM = ("pyproject.toml", "constraints.txt", "tests/parts/npm/package-lock.json")


def files() -> list[str]:
    """The paths of all files that git tracks, or would track."""
    argv = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def fresh(folder: Path) -> Path:
    """Copy the files and link to what is installed. The files that make installs from get an old time.

    Otherwise make in the clone would install the clone into the shared .venv.
    """
    for name in files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    for name in INSTALLED_FROM:
        os.utime(folder / name, (0, 0))
    for name in INSTALLED:
        there = Path(sys.prefix) if name == ".venv" else ROOT / name
        there.mkdir(parents=True, exist_ok=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(there)
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment for programs of the clone: they import its code, without coverage and outside of `make test`."""
    foreign = ("COV", "PYTEST", "MAKE", "MFLAGS")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**ours, "PYTHONPATH": str(folder), **more}
