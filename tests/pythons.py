"""`make test-pythons`: the unit tests on each supported Python that this machine has."""

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
    """The paths where a Python of this version can be: PATH, pyenv, uv."""
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True)
    yield from sorted(Path.home().glob(f".local/share/uv/python/cpython-{version}.*/bin/python{version}"), reverse=True)


def has_version(python: Path, version: str) -> bool:
    """Whether it runs and has this version. pyenv has shims for versions that are not installed."""
    line = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    output = subprocess.run([python, "-c", line], capture_output=True, text=True, check=False).stdout
    return output.strip() == version


def find(version: str) -> Path | None:
    return next((python for python in candidates(version) if has_version(python, version)), None)


def passes(version: str, python: Path, *more: str) -> bool:
    """Whether the unit tests pass on it, in a virtual environment for this version."""
    venv = ROOT / ".cache" / "pythons" / version
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    if not (venv / "bin" / "pip").exists():
        subprocess.run([python, "-m", "venv", venv], check=True)
    install = [
        venv / "bin" / "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--editable",
        ".[test]",
    ]
    subprocess.run(install, cwd=ROOT, env=environment, check=True)
    argv = [
        venv / "bin" / "python",
        "-m",
        "pytest",
        "-q",
        "-n",
        "auto",
        "tests/unit",
        *more,
    ]
    return subprocess.run(argv, cwd=ROOT, check=False).returncode == 0


def main() -> None:
    results = {}
    for version in VERSIONS:
        python = find(version)
        print(f"Python {version}: {python or 'not on this machine'}", flush=True)
        if python:
            results[version] = passes(version, python, *sys.argv[1:])
    for version in VERSIONS:
        print(
            f"Python {version}:", {True: "passed", False: "FAILED", None: "not on this machine"}[results.get(version)]
        )
    sys.exit(0 if results and all(results.values()) else 1)


if __name__ == "__main__":
    main()
