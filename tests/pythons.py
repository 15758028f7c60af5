"""`make test-pythons`: the unit tests on each Python that groundcrew supports, as far as this machine has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.11", "3.12", "3.13")


def candidates(version: str) -> Iterator[Path]:
    """Where a Python of this version may be: on the path, pyenv's, uv's."""
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)
    yield from sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"), reverse=True)


def is_one(python: Path, version: str) -> bool:
    """Whether it runs and is what its name says: pyenv's shims are there for versions that are not."""
    line = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    told = subprocess.run([python, "-c", line], capture_output=True, text=True, check=False)
    return told.stdout.strip() == version


def found(version: str) -> Path | None:
    return next((one for one in candidates(version) if is_one(one, version)), None)


def tested(version: str, python: Path, *more: str) -> bool:
    """Whether the unit tests pass on it, in an environment of its own."""
    own = ROOT / ".cache" / "pythons" / version
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    if not (own / "bin" / "pip").exists():
        subprocess.run([python, "-m", "venv", own], check=True)
    install = [own / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ".[test]"]
    subprocess.run(install, cwd=ROOT, env=environment, check=True)
    argv = [own / "bin" / "python", "-m", "pytest", "-q", "-n", "auto", "--maxprocesses", "4", "tests/unit", *more]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode == 0


def main() -> None:
    told = {}
    for version in VERSIONS:
        python = found(version)
        print(f"Python {version}: {python or 'not on this machine'}", flush=True)
        if python:
            told[version] = tested(version, python, *sys.argv[1:])
    for version in VERSIONS:
        print(f"Python {version}:", {True: "passed", False: "FAILED", None: "not on this machine"}[told.get(version)])
    sys.exit(0 if told and all(told.values()) else 1)


if __name__ == "__main__":
    main()
