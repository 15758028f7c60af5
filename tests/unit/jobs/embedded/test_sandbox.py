"""The command line of a sandbox."""

from __future__ import annotations

from pathlib import Path

from jobs.embedded._sandbox import Sandbox

COMMON = [
    "--unshare-ipc", "--unshare-net", "--unshare-pid", "--unshare-uts", "--die-with-parent", "--new-session",
    "--dir", "/etc", "--dir", "/usr", "--ro-bind", "/usr/lib", "/usr/lib", "--ro-bind", "/h/passwd", "/etc/passwd",
    "--setenv", "LD_LIBRARY_PATH", "/usr/lib", "--dev", "/dev", "--bind", "/h/scratch", "/scratch",
    "--remount-ro", "/", "--chdir", "/scratch", "--",
]  # fmt: skip


def sandbox(setpriv: str | None, user: int) -> Sandbox:
    lib = (Path("/usr/lib"),)
    return Sandbox("/usr/bin/bwrap", setpriv, user, lib, lib, Path("/h/passwd"), Path("/h/scratch"))


def test_an_ordinary_user_stays_the_same_user_in_a_user_namespace() -> None:
    assert sandbox(None, 1000).command == ["/usr/bin/bwrap", "--unshare-user", *COMMON]


def test_root_becomes_a_user_of_its_own_without_capabilities() -> None:
    assert sandbox("/usr/bin/setpriv", 60600).command == [
        "/usr/bin/bwrap", *COMMON, "/usr/bin/setpriv", "--reuid=60600", "--regid=60600", "--clear-groups",
        "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--",
    ]  # fmt: skip
