"""The network of a lab: a bridge, and access to the internet for apt."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests.lab import commands
from tests.lab.machine import LabCannotRun
from tests.lab.rootfs import alone

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BEFORE = Path("/run/crewlab.forwarding")  # the setting before the first lab
LOCK = Path("/run/crewlab.lock")


def new_bridge() -> int:
    """Create a bridge with the lowest free number. The kernel allows each name once, so labs never share a number."""
    for number in count():
        made = run("ip", "link", "add", commands.bridge(number), "type", "bridge")
        if made.returncode == 0:
            return number
        if "File exists" not in made.stderr or number == 255:
            raise LabCannotRun(f"cannot create a network bridge: {made.stderr.strip()}. A container needs --privileged")
    raise AssertionError


def connect(number: int) -> None:
    for command in commands.make_network(number):
        must(*command)
    must("nft", "-f", "-", stdin=commands.firewall(number))
    with alone(LOCK):
        if not BEFORE.exists():
            BEFORE.write_text(FORWARDING.read_text())
        FORWARDING.write_text("1\n")


def remove(number: int) -> None:
    """Remove the network. The last lab restores the setting of IP forwarding."""
    run("nft", "delete", "table", "ip", commands.bridge(number))
    run("ip", "link", "delete", commands.bridge(number))
    for cable in Path("/sys/class/net").glob(f"vb-{commands.bridge(number)}-*"):  # of a host that was unplugged
        run("ip", "link", "delete", cable.name)
    with alone(LOCK):
        if BEFORE.exists() and not list(Path("/sys/class/net").glob("crewlab*")):
            FORWARDING.write_text(BEFORE.read_text())
            BEFORE.unlink()


@contextmanager
def unplugged(machine: str) -> Iterator[None]:
    """Cut the network of a host without closing its connections, as if its cable were pulled."""
    cable = f"vb-{machine}"  # the name that systemd-nspawn gives to this end
    must("ip", "link", "set", cable, "down")
    try:
        yield
    finally:
        must("ip", "link", "set", cable, "up")


def must(*command: str, stdin: str = "") -> None:
    done = run(*command, stdin=stdin)
    if done.returncode:
        raise LabCannotRun(f"{' '.join(command)}: {done.stderr.strip()}")


def run(*command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, input=stdin, capture_output=True, text=True)
