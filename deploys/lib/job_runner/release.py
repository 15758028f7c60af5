"""A release of groundcrew: its wheel and those of its dependencies, so that the host needs no package index."""

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
SOURCES = ("pyproject.toml", "constraints.txt", "inventories/*.py", "terraform/*.py", "deploys/**/*", "jobs/**/*")
OLDEST_GLIBC = 5


@dataclass(frozen=True)
class HostPython:
    """A host's Python, which the wheels must fit."""

    version: str
    glibc: int  # the minor version: 36 for 2.36
    machine: str

    @property
    def markers(self) -> dict[str, str]:
        """The environment markers of requirements on this Python."""
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
        """The platform tags for pip, newest first: pip prefers the first that it finds."""
        return [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]


# The Python and glibc of each system.
PYTHONS = {("debian", "12"): ("3.11", 36), ("debian", "13"): ("3.13", 41), ("ubuntu", "24.04"): ("3.12", 39)}


def release_id(python: HostPython, root: Path = ROOT) -> str:
    """Return the release's name: a hash of all that it contains, known before the wheels exist."""
    digest = hashlib.sha256(repr(python).encode())
    for file in sorted(file for pattern in SOURCES for file in root.glob(pattern)):
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def pinned_requirements(python: HostPython, root: Path = ROOT) -> list[str]:
    """Return each package that groundcrew needs on a host, at the version in constraints.txt."""
    first = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = parse_constraints((root / "constraints.txt").read_text())
    return [pins.get(name, name) for name in resolve_packages(first, _requires, python.markers)]


def parse_constraints(constraints: str) -> dict[str, str]:
    """Return the lines of constraints.txt by package name."""
    lines = re.finditer(r"^([\w.-]+)==\S+", constraints, re.MULTILINE)
    return {canonicalize_name(line[1]): line[0] for line in lines}


def resolve_packages(
    first: Iterable[str], requires: Callable[[str], Iterable[str]], markers: Mapping[str, str]
) -> list[str]:
    """Return the packages that the requirements need, directly or not. pip can't: it uses your machine's markers."""

    def applies(requirement: Requirement, extra: str = "") -> bool:
        marker = requirement.marker
        return marker.evaluate({**markers, "extra": extra}) if marker else not extra

    todo = [(each, extra) for each in map(Requirement, first) if applies(each) for extra in ("", *each.extras)]
    done = set[tuple[str, str]]()
    while todo:
        requirement, extra = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, extra) not in done:
            done.add((name, extra))
            dependencies = [each for each in map(Requirement, requires(name)) if applies(each, extra)]
            todo += [(each, their_extra) for each in dependencies for their_extra in ("", *each.extras)]
    return sorted({name for name, _ in done})


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # only the host's Python needs it; so far such packages have no dependencies
        return []


def download_command(python: HostPython, packages: Sequence[str], folder: Path) -> list[str]:
    """Return the pip command that downloads wheels for the host's Python."""
    target = ["--implementation", "cp", "--python-version", python.version]
    platforms = [part for each in python.platforms for part in ("--platform", each)]
    return [*_pip("download"), "--no-deps", "--dest", str(folder), *target, *platforms, *packages]


def build_command(source: Path, folder: Path) -> list[str]:
    """Return the pip command that builds a wheel from source. By itself, an old pip uses the venv's setuptools."""
    return [*_pip("wheel"), "--use-pep517", "--no-deps", "--wheel-dir", str(folder), str(source)]


def _pip(verb: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]


def make_wheels(python: HostPython, root: Path = ROOT) -> tuple[Path, list[Path]]:
    """Return groundcrew's wheel and those of its dependencies; they are built or downloaded once and cached."""
    packages = pinned_requirements(python, root)
    digest = hashlib.sha256("\n".join([*packages, repr(python)]).encode()).hexdigest()[:12]
    others = _cached(CACHE / digest, lambda folder: _fetch(python, packages, folder))
    (own,) = _cached(CACHE / release_id(python, root), lambda folder: _run(build_command(root, folder), root))
    return own, others


def _fetch(python: HostPython, packages: Sequence[str], folder: Path) -> None:
    _run(download_command(python, packages, folder), ROOT)
    for source in folder.glob("*.tar.gz"):  # a package without wheels
        _run(build_command(source, folder), ROOT)
        source.unlink()


def _cached(folder: Path, make: Callable[[Path], None]) -> list[Path]:
    """Return the files of a cached directory; `make` fills it if it does not exist, and a partial one is never kept."""
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
        lines = [line.strip() for line in done.stderr.splitlines()]
        reason = "; ".join(line for line in lines if line.lower().startswith("error")) or done.stderr[-500:]
        raise DeployError(
            f"pip on your machine can't make the wheels: {reason}; check that it reaches its package index"
        )
