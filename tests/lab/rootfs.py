"""The root file system that all hosts of a Debian release share: made once, kept in .cache, never changed."""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import machine
from tests.lab.machine import Apt, LabCannotRun

CACHE = Path(__file__).parents[2] / ".cache" / "lab"
RELEASES = {12: "bookworm", 13: "trixie"}
PACKAGES = (
    "apt-utils,ca-certificates,curl,dbus,iproute2,iputils-ping,kmod,less,nano,openssh-server,procps,"
    "python3,sudo,systemd,systemd-sysv,tzdata"
)
FILES = {
    # A lab host is thrown away, so its writes need not survive a power cut.
    "etc/dpkg/dpkg.cfg.d/lab": "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n",
    "etc/apt/apt.conf.d/00lab": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n',
    "etc/hostname": "lab\n",
}


def release(debian: int) -> Path:
    """The root file system of a release; makes it if there is none."""
    made = CACHE / f"{RELEASES[debian]}-{recipe()}"
    with alone(CACHE / f"{RELEASES[debian]}.lock"):
        if not made.exists():
            _remove_others(made)
            _make(RELEASES[debian], made)
    return made


def downloads(debian: int) -> Path:
    """A layer with the packages that hosts have downloaded, for the next hosts."""
    layer = CACHE / f"{RELEASES[debian]}-downloads"
    (layer / "var/cache/apt/archives").mkdir(parents=True, exist_ok=True)
    return layer


def keep_downloads(upper: Path, layer: Path) -> None:
    """Copy the packages that a host downloaded into the layer."""
    for package in (upper / "var/cache/apt/archives").glob("*.deb"):
        kept = layer / "var/cache/apt/archives" / package.name
        if not kept.exists():
            new = kept.with_suffix(f".{secrets.token_hex(4)}")
            shutil.copyfile(package, new)
            new.rename(kept)


def recipe() -> str:
    """A hash of everything that decides how a root file system is made."""
    ingredients = PACKAGES + repr(sorted(FILES.items())) + inspect.getsource(_make) + inspect.getsource(sources)
    return hashlib.sha256(ingredients.encode()).hexdigest()[:8]


def sources(suite: str, apt: Apt) -> str:
    return (
        f"deb {apt.mirror} {suite} main\ndeb {apt.mirror} {suite}-updates main\n"
        f"deb {apt.security} {suite}-security main\n"
    )


def debootstrap(suite: str, target: Path, mirror: str) -> list[str]:
    """The command line, in a mount namespace: debootstrap mounts /proc, and that mount ends with it."""
    alone = ["unshare", "--mount", "--propagation=private"]
    return [*alone, "debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(target), mirror]


def _make(suite: str, made: Path) -> None:
    apt = machine.apt()
    new = made.with_name(f"{made.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    print(f"Making the root file system of {suite}, once; this takes about a minute", file=sys.stderr)
    _run(debootstrap(suite, new, apt.mirror), **({"http_proxy": apt.proxy} if apt.proxy else {}))
    for name, text in FILES.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_text(text)
    (new / "etc/apt/sources.list").write_text(sources(suite, apt))
    (new / "etc/apt/apt.conf.d/90machine").write_text(apt.settings)
    (new / "etc/resolv.conf").unlink(missing_ok=True)
    (new / "etc/resolv.conf").write_text(machine.resolvers())
    for own in (*new.glob("etc/ssh/ssh_host_*"), *new.glob("var/lib/dbus/machine-id")):
        own.unlink()
    if machine.HOST_CERTIFICATES.exists():
        shutil.copytree(machine.HOST_CERTIFICATES, new / "usr/local/share/ca-certificates", dirs_exist_ok=True)
    _run(["chroot", str(new), "update-ca-certificates"])
    _run(["chroot", str(new), "apt-get", "update"])
    _run(["chroot", str(new), "apt-get", "--yes", "upgrade"])
    _run(["chroot", str(new), "apt-get", "clean"])
    units = ("systemd-networkd.service", "ssh.service")
    _run(["systemctl", f"--root={new}", "enable", *units])
    _run(["systemctl", f"--root={new}", "mask", "systemd-networkd-wait-online.service", "apt-daily.timer"])
    new.rename(made)


def _run(command: list[str], **variables: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C", **variables}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise LabCannotRun(f"{command[0]} failed while making the root file system:\n{tail}")


def _remove_others(made: Path) -> None:
    for old in made.parent.glob(f"{made.name.split('-')[0]}-????????*"):
        if old.name != f"{made.name.split('-')[0]}-downloads":
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in a context with the same file."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
