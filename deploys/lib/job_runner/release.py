"""groundcrew as a host gets it: a wheel of this repository and all that it needs, so that the host asks no index."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploys.lib.preflight import DeployError

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "wheels"
HELD = ("pyproject.toml", "constraints.txt", "inventories/*.py", "terraform/*.py", "deploys/**/*.py", "jobs/**/*")
OLDEST_GLIBC = 5


@dataclass(frozen=True)
class Python:
    """A host's own Python, which wheels must fit."""

    version: str
    glibc: int  # the 36 of 2.36
    machine: str

    @property
    def markers(self) -> dict[str, str]:
        """What requirements may depend on."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.version}.0",
            "python_version": self.version,
            "sys_platform": "linux",
        }

    @property
    def platforms(self) -> list[str]:
        """The newest first, as pip takes the first that it finds."""
        return [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]


# Each system's own, under which groundcrew runs there.
PYTHONS = {("debian", "12"): ("3.11", 36), ("debian", "13"): ("3.13", 41), ("ubuntu", "24.04"): ("3.12", 39)}


def identity(python: Python, root: Path = ROOT) -> str:
    """A name for what would be installed, which changes when any of it does; known without making it."""
    told = hashlib.sha256(repr(python).encode())
    for file in sorted(file for pattern in HELD for file in root.glob(pattern)):
        if file.is_file() and "__pycache__" not in file.parts:
            told.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return told.hexdigest()[:12]


def requirements(python: Python, root: Path = ROOT) -> list[str]:
    """Every package that groundcrew needs on a host, at the version of constraints.txt."""
    first = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = pinned((root / "constraints.txt").read_text())
    return [pins.get(name, name) for name in needed(first, _requires, python.markers)]


def pinned(constraints: str) -> dict[str, str]:
    """The lines of constraints.txt, by the name of the package."""
    lines = re.finditer(r"^([\w.-]+)==\S+", constraints, re.MULTILINE)
    return {canonicalize_name(line[1]): line[0] for line in lines}


def needed(first: Iterable[str], requires: Callable[[str], Iterable[str]], markers: Mapping[str, str]) -> list[str]:
    """All packages that these requirements lead to where the markers hold: pip itself asks only the own machine's."""

    def hold(requirement: Requirement, extra: str = "") -> bool:
        marker = requirement.marker
        return marker.evaluate({**markers, "extra": extra}) if marker else not extra

    todo = [(one, extra) for one in map(Requirement, first) if hold(one) for extra in ("", *one.extras)]
    seen = set[tuple[str, str]]()
    while todo:
        one, extra = todo.pop()
        name = canonicalize_name(one.name)
        if (name, extra) not in seen:
            seen.add((name, extra))
            leads_to = [other for other in map(Requirement, requires(name)) if hold(other, extra)]
            todo += [(other, wanted) for other in leads_to for wanted in ("", *other.extras)]
    return sorted({name for name, _ in seen})


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # wanted only by the host's Python, and so far always a package of its own
        return []


def download(python: Python, packages: Sequence[str], folder: Path) -> list[str]:
    """pip's command line: for the host's Python, whatever this machine's is."""
    fitting = ["--implementation", "cp", "--python-version", python.version]
    platforms = [part for each in python.platforms for part in ("--platform", each)]
    return [*_pip("download"), "--no-deps", "--dest", str(folder), *fitting, *platforms, *packages]


def build(what: Path, folder: Path) -> list[str]:
    return [*_pip("wheel"), "--no-deps", "--wheel-dir", str(folder), str(what)]


def _pip(verb: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]


def wheels(python: Python, root: Path = ROOT) -> tuple[Path, list[Path]]:
    """groundcrew's own wheel and those of what it needs, made on this machine once."""
    packages = requirements(python, root)
    told = hashlib.sha256("\n".join([*packages, repr(python)]).encode()).hexdigest()[:12]
    others = _once(CACHE / told, lambda folder: _fetch(python, packages, folder))
    (own,) = _once(CACHE / identity(python, root), lambda folder: _run(build(root, folder), root))
    return own, others


def _fetch(python: Python, packages: Sequence[str], folder: Path) -> None:
    _run(download(python, packages, folder), ROOT)
    for source in folder.glob("*.tar.gz"):  # of a package that has no wheels
        _run(build(source, folder), ROOT)
        source.unlink()


def _once(folder: Path, make: Callable[[Path], None]) -> list[Path]:
    """The files of a folder that is there whole or not at all."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as new:
            make(Path(new) / "made")
            if not folder.exists():
                (Path(new) / "made").rename(folder)
    return sorted(folder.iterdir())


def _run(command: list[str], root: Path) -> None:
    constrained = {**os.environ, "PIP_CONSTRAINT": str(root / "constraints.txt")}
    done = subprocess.run(command, check=False, cwd=root, env=constrained, capture_output=True, text=True)
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-500:])
        raise DeployError(f"pip on this machine can't make the wheels: {said}; see that it reaches its index")
