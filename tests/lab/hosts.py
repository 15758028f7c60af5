"""One host of a lab: boot it, wait for it, kill it."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab import commands
from tests.lab.machine import LabCannotRun
from tests.lab.network import must, run
from tests.parts.patience import deadline

CGROUPS = Path("/sys/fs/cgroup")
UP_WITHIN = 60  # seconds, on a quiet machine; it takes about ten


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    machine: str  # its name in systemd-nspawn and of its control groups


def start(host: Host, folder: Path, layers: Sequence[Path], bridge: str, home: Path) -> None:
    """Make the file system of a new host and boot it."""
    (folder / "upper").mkdir(parents=True)
    _furnish(host, folder / "upper", home)
    boot(host, folder, layers, bridge)


def boot(host: Host, folder: Path, layers: Sequence[Path], bridge: str) -> None:
    """Boot a host, also one that `end` killed."""
    upper, work, root = (folder / part for part in ("upper", "work", "root"))
    for made in (work, root):
        made.mkdir(exist_ok=True)
    must(*commands.overlay(layers, upper, work, root))
    groups = [parent / host.machine for parent in _parents()]
    for group in groups:
        group.mkdir()
    with (folder / "console").open("w") as console:
        subprocess.Popen(
            commands.boot(root, host.machine, host.name, bridge, groups),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            cwd="/",
        )


def _furnish(host: Host, upper: Path, home: Path) -> None:
    """Write what differs between hosts: name, address and keys."""
    gateway = f"{host.address.rpartition('.')[0]}.1"
    network = f"[Match]\nName=host0\n[Network]\nAddress={host.address}/24\nGateway={gateway}\n"
    _write(upper / "etc/systemd/network/10-lab.network", network)
    _write(upper / "etc/hostname", f"{host.name}\n")
    _write(upper / "etc/hosts", f"127.0.0.1 localhost\n{host.address} {host.name}\n")
    _write(upper / "root/.ssh/authorized_keys", (home / ".ssh/id_ed25519.pub").read_text(), 0o600)
    (upper / "root").chmod(0o700)
    (upper / "root/.ssh").chmod(0o700)
    _write(upper / "etc/machine-id", f"{secrets.token_hex(16)}\n", 0o444)
    key = upper / "etc/ssh/ssh_host_ed25519_key"
    key.parent.mkdir(parents=True)
    must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", host.name, "-f", str(key))
    with (home / ".ssh/known_hosts").open("a") as known:
        known.write(f"{host.address} {key.with_suffix('.pub').read_text()}")


def _write(file: Path, text: str, mode: int = 0o644) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)


def wait(host: Host, folder: Path, home: Path) -> None:
    """Wait until systemd has started everything."""
    until(lambda: _greets(host.address), f"{host.name} did not come up", folder / "console")
    asked = "systemctl is-system-running --wait"
    until(
        lambda: run(*commands.ssh(home, host.address, "root"), asked).stdout.strip() in {"running", "degraded"},
        f"{host.name} accepts no login",
        folder / "console",
    )


def until(holds: Callable[[], bool], otherwise: str, console: Path) -> None:
    began = time.monotonic()
    while not holds():
        waited = time.monotonic() - began
        if waited > deadline(UP_WITHIN):
            tail = "\n".join(console.read_text(errors="replace").splitlines()[-15:])
            raise LabCannotRun(f"{otherwise} within {waited:.0f} s; its console ends with:\n{tail}")
        time.sleep(0.1)


def _greets(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def end(host: Host, folder: Path) -> None:
    """Kill the host, as a power cut would, and unmount its file system."""
    groups = [group for parent in _parents() for group in [parent / host.machine] if group.exists()]
    while processes := {pid for group in groups for pid in _inside(group)}:
        for pid in processes:
            _kill(pid)
        time.sleep(0.02)
    for group in groups:
        for inner in sorted(group.rglob("*/"), reverse=True):
            if inner.is_dir():
                inner.rmdir()
        group.rmdir()
    run("umount", "--lazy", "--recursive", str(folder / "root"))
    shutil.rmtree(folder / "work", ignore_errors=True)


def _parents() -> Iterator[Path]:
    """The control groups in which this process can create others, in each hierarchy that systemd uses."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "name=systemd":
            yield CGROUPS / "systemd" / path.lstrip("/")
        if not controllers:
            unified = CGROUPS / "unified"
            yield (unified if unified.exists() else CGROUPS) / path.lstrip("/")


def _inside(group: Path) -> Iterator[int]:
    for listing in group.rglob("cgroup.procs"):
        try:
            yield from (int(pid) for pid in listing.read_text().split() if pid != "0")
        except OSError:  # the group disappeared with its last process
            continue


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    except (ProcessLookupError, ChildProcessError):
        pass
