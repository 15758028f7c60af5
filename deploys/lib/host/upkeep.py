"""What keeps a dev server in order while nobody looks: updates, bans, clock, swap, kernel, containers, metrics."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploys.lib.preflight import every

PACKAGES = (
    "acl",
    "chrony",
    "fail2ban",
    "nftables",
    "prometheus-node-exporter",
    "python3-systemd",
    "sudo",
    "unattended-upgrades",
)
HEAD = "Written by groundcrew; changes made here are overwritten.\n"


@dataclass(frozen=True)
class Upkeep:
    containers: str
    docker_settings: Mapping[str, object]
    workspaces: str
    swap: str
    time_servers: tuple[str, ...]
    never_ban: tuple[str, ...]
    sysctl: Mapping[str, object]
    more_packages: tuple[str, ...]
    about: str

    @property
    def packages(self) -> tuple[str, ...]:
        return (*CONTAINERS[self.containers].packages, *self.more_packages)

    @property
    def files(self) -> Mapping[str, str]:
        """Each file that is kept, and what is in it."""
        return {path: text(self) for path, text in {**FILES, **CONTAINERS[self.containers].files}.items()}

    @property
    def units(self) -> Mapping[str, Unit]:
        return {**UNITS, **CONTAINERS[self.containers].units}

    @classmethod
    def of(cls, given: Any, name: str) -> Upkeep:
        """Read from group data; every fault is told."""
        upkeep = cls(
            containers=given.get("containers") or "",
            docker_settings=given.get("docker_settings") or {},
            workspaces=given.get("workspaces") or "/srv/workspaces",
            swap=given.get("swap") or "",
            time_servers=tuple(given.get("time_servers") or ()),
            never_ban=tuple(given.get("never_ban") or ()),
            sysctl=given.get("sysctl") or {},
            more_packages=tuple(given.get("packages") or ()),
            about=given.get("about") or "A server that developers share.",
        )
        every(f"{name}: {fault}" for fault in upkeep.faults())
        return upkeep

    def faults(self) -> Iterator[str]:
        if self.containers not in CONTAINERS:
            yield f'containers: {self.containers!r}; write "podman", "docker" or nothing'
        if not isinstance(self.docker_settings, Mapping):
            yield f'docker_settings: {self.docker_settings!r}; write {{"registry-mirrors": ["https://…"]}}'
        if self.swap and not re.fullmatch(r"\d+[MG]", self.swap):
            yield f'swap: {self.swap!r}; write a size, as in "4G"'
        if not re.fullmatch(r"(/[\w.-]+)+", self.workspaces):
            yield f"workspaces: {self.workspaces!r}; write a folder, as in /srv/workspaces"


def _updates(upkeep: Upkeep) -> str:
    return f'// {HEAD}APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'


def _bans(upkeep: Upkeep) -> str:
    never = " ".join(["127.0.0.1/8", "::1", *upkeep.never_ban])
    return (
        f"# {HEAD}[DEFAULT]\nbackend = systemd\nbanaction = nftables\nbanaction_allports = nftables[type=allports]\n"
        f"ignoreip = {never}\n[sshd]\nenabled = true\nmaxretry = 5\nfindtime = 10m\nbantime = 1h\n"
    )


def _clock(upkeep: Upkeep) -> str:
    return f"# {HEAD}" + "".join(f"server {each} iburst\n" for each in upkeep.time_servers)


def _kernel(upkeep: Upkeep) -> str:
    settings: dict[str, object] = {
        "fs.inotify.max_user_instances": 1024,
        "fs.inotify.max_user_watches": 524288,  # editors watch whole trees
        "kernel.dmesg_restrict": 1,
        "vm.swappiness": 10,
    }
    return f"# {HEAD}" + "".join(f"{key} = {value}\n" for key, value in sorted({**settings, **upkeep.sysctl}.items()))


def _metrics(upkeep: Upkeep) -> str:
    return f'# {HEAD}ARGS="--collector.textfile.directory=/var/lib/prometheus/node-exporter"\n'


def _swap(upkeep: Upkeep) -> str:
    return (
        f"# {HEAD}[Unit]\nDescription=Swap file\nConditionPathExists=/swapfile\nConditionVirtualization=!container\n"
        "[Swap]\nWhat=/swapfile\n[Install]\nWantedBy=swap.target\n"
    )


def _short_names(upkeep: Upkeep) -> str:
    """So that `podman run alpine` finds what `docker run alpine` would."""
    return f'# {HEAD}unqualified-search-registries = ["docker.io"]\n'


def _docker(upkeep: Upkeep) -> str:
    """Logs that don't fill the disk, and containers that live on while the daemon is restarted or upgraded."""
    settings = {"log-driver": "local", "log-opts": {"max-size": "20m", "max-file": "5"}, "live-restore": True}
    return json.dumps({**settings, **upkeep.docker_settings}, indent=2, sort_keys=True)


@dataclass(frozen=True)
class Unit:
    """The files that a unit must have read, and whether it ends when its work is done."""

    files: Sequence[str] = ()
    oneshot: bool = False


@dataclass(frozen=True)
class Containers:
    """What a way to run containers brings with it."""

    packages: Sequence[str] = ()
    files: Mapping[str, Callable[[Upkeep], str]] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)


SWAP, SWAP_NEW = "/swapfile", "/swapfile.new"
# MiB that a swap file may take if there is none: what is free, and what a run that was killed over one has taken.
ROOM_FOR_SWAP = f"test -e {SWAP} || {{ df --output=avail -B1M / | tail -1; du --block-size=1M {SWAP_NEW} | cut -f1; }}"
DOCKER = "/etc/docker/daemon.json"
# A daemon that can tell finds faults before the file is in force; Debian 12's can't.
CHECKS = {DOCKER: "{{ ! dockerd --help | grep --quiet -e --validate || dockerd --validate --config-file={}; }}"}
CONTAINERS = {
    "": Containers(),
    "podman": Containers(
        packages=("podman", "uidmap", "slirp4netns", "fuse-overlayfs"),
        files={"/etc/containers/registries.conf.d/groundcrew.conf": _short_names},
    ),
    "docker": Containers(
        packages=("docker.io", "containerd"), files={DOCKER: _docker}, units={"docker.service": Unit([DOCKER])}
    ),
}
FILES = {
    "/etc/apt/apt.conf.d/20auto-upgrades": _updates,
    "/etc/fail2ban/jail.d/groundcrew.local": _bans,
    "/etc/chrony/conf.d/groundcrew.conf": _clock,
    "/etc/sysctl.d/60-groundcrew.conf": _kernel,
    "/etc/default/prometheus-node-exporter": _metrics,
    "/etc/systemd/system/swapfile.swap": _swap,
}
UNITS = {
    "fail2ban.service": Unit(["/etc/fail2ban/jail.d/groundcrew.local"]),
    "chrony.service": Unit(["/etc/chrony/conf.d/groundcrew.conf"]),
    "prometheus-node-exporter.service": Unit(["/etc/default/prometheus-node-exporter"]),
    "unattended-upgrades.service": Unit(),
    "apt-daily-upgrade.timer": Unit(),
    "systemd-sysctl.service": Unit(["/etc/sysctl.d/60-groundcrew.conf"], oneshot=True),
    "swapfile.swap": Unit(),
}


def swap_commands(size: str) -> list[str]:
    """Make a swap file that only root may read, or leave nothing behind."""
    new = SWAP_NEW
    made = f"umask 077 && fallocate --length {size} {new} && mkswap {new} && mv {new} {SWAP}"
    return [f"{made} || {{ rm --force {new}; exit 1; }}"] if size else []


def faults_of_swap(size: str, room: Sequence[str], kept_free: int) -> Iterator[str]:
    """Why there is no room for a swap file that is not there yet; `room` is what ROOM_FOR_SWAP prints."""
    free = sum(map(int, room))
    if size and room and free < mebibytes(size) + kept_free:
        yield (
            f"swap: {size}, but {free} MiB are free on the disk of {SWAP}, and {kept_free} are to stay free; "
            "make room, or name a smaller swap"
        )


def mebibytes(size: str) -> int:
    return int(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


def motd(name: str, upkeep: Upkeep) -> str:
    return (
        f"\n  {name}: {upkeep.about}\n  Your workspace is {upkeep.workspaces}/<your name>.\n"
        "  groundcrew keeps this host: what it manages and you change by hand is overwritten.\n\n"
    )
