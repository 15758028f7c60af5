"""A sandbox of bubblewrap for a server that runs hostile code."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INSIDE = Path("/scratch")
"""The directory that the sandbox can write to, as its programs see it."""

# What PostgreSQL, its libraries and its extensions read. Its programs need a shell, and initdb lists locales.
_SYSTEM = (
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib", "/usr/share", "/lib", "/lib32", "/lib64"),
    *("/etc/alternatives", "/etc/ld.so.cache", "/var/cache/postgresql/dicts", "/bin/sh", "/usr/bin/locale"),
)
_USERS = "/etc/passwd"
_HIDDEN = ("/dev", "/proc", "/run", "/sys", str(INSIDE))

# User IDs that no distribution and no service of systemd uses: https://systemd.io/UIDS-GIDS
_FREE_USER_IDS = range(60_578, 61_184)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """What a sandbox consists of: files that its programs read, a directory that they write, their user."""

    bwrap: str
    setpriv: str | None
    """Changes from root to the user. An ordinary user stays the same user."""
    user: int
    reads: tuple[Path, ...]
    libraries: tuple[Path, ...]
    passwd: Path
    writes: Path

    @property
    def command(self) -> list[str]:
        """The start of a command line that runs in the sandbox.

        It mounts no /proc: a hardened systemd service cannot do that. Without it, programs cannot find libraries by
        their own place ($ORIGIN).
        """
        folders = {folder for path in (*self.reads, Path(_USERS)) for folder in path.parents[:-1]}
        return [
            self.bwrap,
            *(() if self.setpriv else ("--unshare-user",)),
            *("--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts"),
            *("--die-with-parent", "--new-session"),
            *(word for folder in sorted(folders) for word in ("--dir", str(folder))),  # else only root can pass them
            *(word for path in self.reads for word in ("--ro-bind", str(path), str(path))),
            *("--ro-bind", str(self.passwd), _USERS),
            *("--setenv", "LD_LIBRARY_PATH", ":".join(map(str, self.libraries))),
            *("--dev", "/dev"),
            *("--bind", str(self.writes), str(INSIDE)),
            *("--remount-ro", "/"),
            *("--chdir", str(INSIDE)),
            "--",
            *(_as_user(self.setpriv, self.user) if self.setpriv else ()),
        ]


def _as_user(setpriv: str, user: int, group: int | None = None) -> list[str]:
    return [
        setpriv,
        f"--reuid={user}",
        f"--regid={user if group is None else group}",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
        "--",
    ]


def writing_only(folder: Path, account: tuple[int, int]) -> list[str]:
    """Return the start of a command that reads this machine and its network, and writes only to a folder, as INSIDE.

    As root, the command runs as this user and group, without any capability.
    """
    is_root = os.geteuid() == 0
    return [
        "bwrap",
        *(() if is_root else ("--unshare-user",)),
        *("--unshare-ipc", "--unshare-pid", "--unshare-uts", "--die-with-parent", "--new-session"),
        *(word for path in sorted(Path("/").iterdir()) for word in _visible(path)),
        *("--dev", "/dev"),
        *("--ro-bind-try", "/run/systemd/resolve", "/run/systemd/resolve"),  # /etc/resolv.conf can be a link to it
        *("--bind", str(folder), str(INSIDE)),
        *("--remount-ro", "/"),
        *("--chdir", str(INSIDE)),
        "--",
        *(as_account(account) if is_root else ()),
    ]


def as_account(account: tuple[int, int]) -> list[str]:
    """Return the start of a command that runs as a user and group, without any capability."""
    return _as_user("setpriv", *account)


def _visible(path: Path) -> list[str]:
    """Return bubblewrap's options that show a file of the root directory; none for other processes and sockets."""
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return [] if str(path) in _HIDDEN else ["--ro-bind", str(path), str(path)]


def new_sandbox(bin_folder: Path, folder: Path) -> Sandbox | str:
    """Return a sandbox for the PostgreSQL of `bin_folder`, with its files in `folder`; why not, if it does not work."""
    bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
    if bwrap is None:
        return "bubblewrap is not installed"
    is_root = os.geteuid() == 0
    if is_root and setpriv is None:
        return "setpriv is not installed"
    user = free_user_id() if is_root else os.geteuid()
    passwd, writes = folder / "passwd", folder / "scratch"
    passwd.write_text(f"groundcrew:x:{user}:{user}::{INSIDE}:/bin/sh\n")
    passwd.chmod(0o644)
    writes.mkdir(0o700)
    if is_root:
        os.chown(writes, user, user)
    libraries = tuple(path for path in _libraries_of(bin_folder) if path.exists())
    candidates = [*map(Path, _SYSTEM), bin_folder, bin_folder.parent / "share", *libraries]
    candidates += [Path(setpriv)] if is_root and setpriv else []
    reads = tuple(path for path in dict.fromkeys(candidates) if path.exists())
    sandbox = Sandbox(bwrap, setpriv if is_root else None, user, reads, libraries, passwd, writes)
    return _fault(sandbox, [str(bin_folder / "initdb"), "--version"]) or sandbox


def _libraries_of(bin_folder: Path) -> list[Path]:
    """Return where a PostgreSQL can have libraries of its own. A wheel has them beside its package."""
    prefix = bin_folder.parent
    package = prefix.parent
    return [package.with_name(f"{package.name}.libs"), prefix / "lib", prefix / "lib64"]


def free_user_id() -> int:
    """Return the ID of a user that does not exist."""
    return secrets.choice([number for number in _FREE_USER_IDS if not _is_taken(number)])


def _is_taken(number: int) -> bool:
    try:
        pwd.getpwuid(number)
    except KeyError:
        return False
    return True


def _fault(sandbox: Sandbox, argv: Sequence[str]) -> str:
    """Return why a command fails in the sandbox, or nothing."""
    done = subprocess.run(
        [*sandbox.command, *argv],
        env=minimal_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if not done.returncode:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"bubblewrap failed ({lines[-1] if lines else f'exit code {done.returncode}'})"


def minimal_environment() -> Mapping[str, str]:
    """Return the environment variables of a server: none of ours, and none of libpq."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
