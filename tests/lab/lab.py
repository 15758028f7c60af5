"""Boot a lab, and remove it without a trace."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import commands, hosts, machine, network, rootfs
from tests.lab.hosts import Host
from tests.lab.machine import LabCannotRun
from tests.parts.patience import deadline

MOST_HOSTS = 10
_USERS: dict[Path, int] = {}  # the open file, with a shared lock, of each lab that this process uses
INOTIFY_LIMIT, ENOUGH_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances"), 1024


@dataclass(frozen=True)
class Lab:
    """A running lab, as lab.json in its folder describes it. Another process can use and remove it."""

    folder: Path
    number: int
    debian: int
    hosts: tuple[Host, ...]

    @property
    def home(self) -> Path:
        """A home folder with an SSH key for the hosts, and their host keys."""
        return self.folder / "home"

    def ssh(
        self, host: Host, command: str, *, user: str = "root", key: Path | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Log in and run a command."""
        argv = [*commands.ssh(self.home, host.address, user, key), command]
        return subprocess.run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout or deadline(120),
        )

    def ask(self, host: Host, command: str) -> str:
        """Run a command, check that it succeeds, and return its output."""
        done = self.ssh(host, command)
        assert done.returncode == 0, f"{host.name}: {command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    @contextmanager
    def process_list(self, host: Host) -> Iterator[list[str]]:
        """Record every command line that a user of the host can see. Read the list after this context."""
        self.ask(host, f"systemd-run --quiet --collect --unit=process-list python3 -c {shlex.quote(_RECORD)}")
        lines = list[str]()
        try:
            yield lines
        finally:
            lines += self.ask(host, "systemctl stop process-list; cat /run/seen").splitlines()


# ps would need a third of a core for this.
_RECORD = """
import glob, time
seen, record = set(), open("/run/seen", "w", buffering=1)
while True:
    for file in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            line = open(file, "rb").read().replace(b"\\0", b" ").replace(b"\\n", b" ")
        except OSError:
            continue
        if line not in seen:
            seen.add(line)
            print(line.decode(errors="replace"), file=record)
    time.sleep(0.02)
"""


def up(folder: Path, count: int = 1, debian: int = 12, *, bound: bool = False) -> Lab:
    """Boot hosts and wait for them. `bound` removes them when this process ends, however it ends."""
    machine.check()
    if not 1 <= count <= MOST_HOSTS:
        raise LabCannotRun(f"a lab has 1 to {MOST_HOSTS} hosts, not {count}")
    layers = _layers(debian)
    _allow_many_hosts()
    folder.mkdir(parents=True)
    if bound:
        bind(folder)
        _down_when_unused(folder)
    number = network.new_bridge()
    bridge = commands.bridge(number)
    named = tuple(Host(f"lab-{n}", commands.address(number, n), f"{bridge}-{n}") for n in range(1, count + 1))
    lab = Lab(folder, number, debian, named)
    (folder / "lab.json").write_text(json.dumps({**asdict(lab), "folder": str(folder)}, indent=1))
    try:
        network.connect(number)
        make_home(lab)
        for host in named:
            hosts.start(host, folder / host.name, layers, bridge, lab.home)
        with ThreadPoolExecutor() as side_by_side:
            list(side_by_side.map(lambda host: hosts.wait(host, folder / host.name, lab.home), named))
    except BaseException:
        down(folder)
        raise
    return lab


def _layers(debian: int) -> list[Path]:
    return [rootfs.downloads(debian), rootfs.release(debian)]


def power_cycle(lab: Lab, host: Host) -> None:
    """Kill a host of `fresh` in the middle of its work, boot it again, and wait for it."""
    folder = lab.folder / host.name
    hosts.end(host, folder)
    network.run("ip", "link", "delete", f"vb-{host.machine}")  # the kernel removes it only some time after the host
    hosts.boot(host, folder, _layers(lab.debian), commands.bridge(lab.number))
    hosts.wait(host, folder, lab.home)


def _allow_many_hosts() -> None:
    """Raise the limit of inotify instances: each host needs eight, and the kernel allows root 128 by default."""
    with suppress(OSError):
        if int(INOTIFY_LIMIT.read_text()) < ENOUGH_INOTIFY:
            INOTIFY_LIMIT.write_text(f"{ENOUGH_INOTIFY}\n")


def make_home(lab: Lab) -> None:
    place = lab.home / ".ssh"
    place.mkdir(parents=True, mode=0o700)
    network.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(place / "id_ed25519"))
    named = {host.name: host.address for host in lab.hosts}
    (place / "lab_config").write_text(commands.ssh_config(lab.home, named))


def read(folder: Path) -> Lab:
    """The lab in a folder."""
    try:
        fields = json.loads((folder / "lab.json").read_text())
    except FileNotFoundError:
        raise LabCannotRun(f"there is no lab in {folder}; boot one: make lab") from None
    named = tuple(Host(**host) for host in fields["hosts"])
    return Lab(folder, fields["number"], fields["debian"], named)


def down(folder: Path) -> None:
    """Remove all that still exists of a lab. It can be called again."""
    if (folder / "lab.json").exists():
        lab = read(folder)
        for host in lab.hosts:
            hosts.end(host, folder / host.name)
            rootfs.keep_downloads(folder / host.name / "upper", rootfs.downloads(lab.debian))
        network.remove(lab.number)
    shutil.rmtree(folder, ignore_errors=True)


def bind(folder: Path) -> bool:
    """Keep a lab until `unbind`, or as long as this process lives; False if it is being removed already."""
    if folder in _USERS:
        return True
    users = os.open(folder / "users", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(users)
        return False
    _USERS[folder] = users
    return True


def unbind() -> None:
    """Let all labs of this process go. Those that no other process uses end soon."""
    while _USERS:
        os.close(_USERS.popitem()[1])


def _down_when_unused(folder: Path) -> None:
    """Start a process that removes the lab when no process is bound to it any more, even after SIGKILL."""
    root = Path(__file__).parents[2]
    subprocess.Popen(
        ["flock", str(folder / "users"), sys.executable, "-m", "tests.lab", "down", str(folder)],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
