"""The lab itself: hosts that are like real ones, and that leave no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import commands, lab, machine, network, rootfs
from tests.lab.lab import Lab
from tests.parts.needs import needs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("platform", "user", "missing", "said"),
    [
        ("linux", 0, [], ""),
        ("darwin", 0, [], "run it on Linux"),
        ("linux", 1000, [], "run it as root, or with sudo"),
        ("linux", 0, ["nft", "systemd-nspawn"], "apt-get install nftables systemd-container"),
    ],
)
def test_where_it_cannot_run_it_says_so(platform: str, user: int, missing: list[str], said: str) -> None:
    told = machine.why_not(platform, user, missing)
    assert told.endswith(said)
    assert bool(told) == bool(said)


def test_hosts_use_the_mirrors_and_the_ways_of_this_machine() -> None:
    targets = "http://mirror.example/debian/ bookworm\nhttp://mirror.example/security/ bookworm-security\n"
    assert machine.mirrors(targets) == ("http://mirror.example/debian/", "http://mirror.example/security/")
    assert machine.mirrors("http://mirror.example/debian/ trixie\n")[1] == "http://mirror.example/debian-security"
    with pytest.raises(machine.LabCannotRun, match="add one to its sources"):
        machine.mirrors("https://apt.example/pgdg bookworm-pgdg\n")
    dump = 'APT::Architecture "amd64";\nAcquire::https::CaInfo "/etc/ca.pem";\n'
    told = machine.settings(dump, "http://proxy.example:3128")
    assert told == 'Acquire::https::CaInfo "/etc/ca.pem";\nAcquire::http::Proxy "http://proxy.example:3128";\n'


@pytest.mark.parametrize("debian", [12, 13])
def test_hosts_are_whole_debians(fresh: Callable[..., Lab], debian: int) -> None:
    there = fresh(2 if debian == 12 else 1, debian)
    host = there.hosts[0]
    assert there.ask(host, "cat /etc/debian_version").startswith(str(debian))
    assert there.ask(host, "systemctl is-system-running") == "running"
    assert there.ask(host, "hostname") == "lab-1"
    assert len({there.ask(each, "cat /etc/machine-id") for each in there.hosts}) == len(there.hosts)
    for other in there.hosts[1:]:
        there.ask(host, f"ping -c 1 -W 2 {other.address}")
    there.ask(host, "apt-get -qq update && apt-get -qq install --yes tree")
    assert there.ask(host, "tree --version").startswith("tree")


@needs("lab")
def test_a_lab_leaves_no_trace_even_when_its_owner_is_killed() -> None:
    folder = rootfs.CACHE / f"test-killed-{os.getpid()}"
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert owner.stdout
    assert owner.stdout.readline().strip() == "up"
    there = lab.read(folder)
    assert _traces(there)
    assert network.FORWARDING.read_text() == "1\n"
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    end = time.monotonic() + 30
    while _traces(there) and time.monotonic() < end:
        time.sleep(0.1)
    assert _traces(there) == []


_OWNER = """
import sys, time
from pathlib import Path
from tests.lab import lab
lab.up(Path(sys.argv[1]), 1, bound=True)
print("up", flush=True)
time.sleep(300)
"""


def _traces(there: Lab) -> list[str]:
    bridge = commands.bridge(there.number)
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(there.folder) in line]
    machines = {host.machine for host in there.hosts}
    # os.walk minds no group that goes while it looks.
    groups = [f"{at}/{name}" for at, names, _ in os.walk("/sys/fs/cgroup") for name in names if name in machines]
    links = [str(link) for link in Path("/sys/class/net").glob(bridge)]
    tables = subprocess.run(["nft", "list", "tables"], check=False, capture_output=True, text=True).stdout.splitlines()
    folder = [str(there.folder)] if there.folder.exists() else []
    return mounts + groups + links + folder + [table for table in tables if table.endswith(f" {bridge}")]
