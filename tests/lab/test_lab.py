"""The lab itself: its hosts are complete Debian systems, and it leaves no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import commands, lab, machine, network, rootfs
from tests.lab.lab import Lab
from tests.parts.needs import needs
from tests.parts.patience import until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("platform", "user", "missing", "expected"),
    [
        ("linux", 0, [], ""),
        ("darwin", 0, [], "run it on Linux"),
        ("linux", 1000, [], "run it as root, or with sudo"),
        ("linux", 0, ["nft", "systemd-nspawn"], "apt-get install nftables systemd-container"),
    ],
)
def test_the_reason_why_the_lab_cannot_run(platform: str, user: int, missing: list[str], expected: str) -> None:
    reason = machine.why_not(platform, user, missing)
    assert reason.endswith(expected)
    assert bool(reason) == bool(expected)


def test_hosts_use_the_mirrors_and_the_proxy_of_this_machine() -> None:
    targets = "http://mirror.example/debian/ bookworm\nhttp://mirror.example/security/ bookworm-security\n"
    assert machine.mirrors(targets) == ("http://mirror.example/debian/", "http://mirror.example/security/")
    assert machine.mirrors("http://mirror.example/debian/ trixie\n")[1] == "http://mirror.example/debian-security"
    ubuntu = "http://mirror.example/ubuntu/ noble\nhttp://mirror.example/ubuntu/ noble-security\n"
    assert machine.mirrors(ubuntu) == (machine.ARCHIVE, f"{machine.ARCHIVE}-security")
    dump = 'APT::Architecture "amd64";\nAcquire::https::CaInfo "/etc/ca.pem";\n'
    settings = machine.settings(dump, "http://proxy.example:3128")
    assert settings == 'Acquire::https::CaInfo "/etc/ca.pem";\nAcquire::http::Proxy "http://proxy.example:3128";\n'


@pytest.mark.parametrize("debian", [12, 13])
def test_hosts_are_complete_debian_systems(fresh: Callable[..., Lab], debian: int) -> None:
    booted = fresh(2 if debian == 12 else 1, debian)
    host = booted.hosts[0]
    assert booted.ask(host, "cat /etc/debian_version").startswith(str(debian))
    assert booted.ask(host, "systemctl is-system-running") == "running"
    assert booted.ask(host, "hostname") == "lab-1"
    assert len({booted.ask(each, "cat /etc/machine-id") for each in booted.hosts}) == len(booted.hosts)
    for other in booted.hosts[1:]:
        booted.ask(host, f"ping -c 1 -W 2 {other.address}")
    booted.ask(host, "apt-get -qq update && apt-get -qq install --yes tree")
    assert booted.ask(host, "tree --version").startswith("tree")


@needs("lab")
@pytest.mark.parametrize("killed", [True, False])
def test_a_lab_leaves_no_trace_when_its_owner_lets_it_go_or_is_killed(killed: bool) -> None:
    folder = rootfs.CACHE / f"test-killed-{os.getpid()}"
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert owner.stdin
    assert owner.stdout
    assert owner.stdout.readline().strip() == "up"
    booted = lab.read(folder)
    assert _traces(booted)
    assert network.FORWARDING.read_text() == "1\n"
    if killed:
        os.killpg(owner.pid, signal.SIGKILL)
    else:
        print("let go", file=owner.stdin, flush=True)
    until(lambda: not _traces(booted), 30, saw=lambda: _traces(booted))
    assert (owner.poll() is None) is not killed
    owner.kill()
    owner.communicate()


_OWNER = """
import sys, time
from pathlib import Path
from tests.lab import lab
lab.up(Path(sys.argv[1]), 1, bound=True)
print("up", flush=True)
input()
lab.unbind()
time.sleep(300)
"""


def _traces(booted: Lab) -> list[str]:
    bridge = commands.bridge(booted.number)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(booted.folder) in line]
    machines = {host.machine for host in booted.hosts}
    # os.walk ignores groups that disappear meanwhile.
    groups = [f"{at}/{name}" for at, names, _ in os.walk("/sys/fs/cgroup") for name in names if name in machines]
    links = [str(link) for link in Path("/sys/class/net").glob(bridge)]
    tables = subprocess.run(["nft", "list", "tables"], check=False, capture_output=True, text=True).stdout.splitlines()
    folder = [str(booted.folder)] if booted.folder.exists() else []
    return mounts + groups + links + folder + [table for table in tables if table.endswith(f" {bridge}")]
