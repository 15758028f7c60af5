"""What keeps a dev server in order while nobody looks: updates, bans, clock, swap, kernel, containers, metrics."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploys.early import every

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
CONTAINERS = {
    "": (),
    "podman": ("podman", "uidmap", "slirp4netns", "fuse-overlayfs"),
    "docker": ("docker.io", "containerd"),
}
HEAD = "Written by groundcrew; changes made here are overwritten.\n"


@dataclass(frozen=True)
class Upkeep:
    containers: str
    workspaces: str
    swap: str
    time_servers: tuple[str, ...]
    never_ban: tuple[str, ...]
    sysctl: Mapping[str, object]
    more_packages: tuple[str, ...]
    about: str

    @property
    def packages(self) -> tuple[str, ...]:
        return (*CONTAINERS[self.containers], *self.more_packages)

    @classmethod
    def of(cls, given: Any, name: str) -> Upkeep:
        """Read from group data; every fault is told."""
        upkeep = cls(
            containers=given.get("containers") or "",
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
        if self.swap and not re.fullmatch(r"\d+[MG]", self.swap):
            yield f'swap: {self.swap!r}; write a size, as in "4G"'
        if not re.fullmatch(r"(/[\w.-]+)+", self.workspaces):
            yield f"workspaces: {self.workspaces!r}; write a folder, as in /srv/workspaces"


def file_of(path: str, upkeep: Upkeep) -> str:
    return FILES[path](upkeep)


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


FILES = {
    "/etc/apt/apt.conf.d/20auto-upgrades": _updates,
    "/etc/fail2ban/jail.d/groundcrew.local": _bans,
    "/etc/chrony/conf.d/groundcrew.conf": _clock,
    "/etc/sysctl.d/60-groundcrew.conf": _kernel,
    "/etc/default/prometheus-node-exporter": _metrics,
    "/etc/systemd/system/swapfile.swap": _swap,
}
# Each unit, the files that it must have read, and whether it ends when its work is done.
UNITS: Mapping[str, tuple[Sequence[str], bool]] = {
    "fail2ban.service": (["/etc/fail2ban/jail.d/groundcrew.local"], False),
    "chrony.service": (["/etc/chrony/conf.d/groundcrew.conf"], False),
    "prometheus-node-exporter.service": (["/etc/default/prometheus-node-exporter"], False),
    "unattended-upgrades.service": ([], False),
    "apt-daily-upgrade.timer": ([], False),
    "systemd-sysctl.service": (["/etc/sysctl.d/60-groundcrew.conf"], True),
    "swapfile.swap": ([], False),
}


def swap_commands(size: str) -> list[str]:
    """Make a swap file that only root may read."""
    new = "/swapfile.new"
    return [f"umask 077 && fallocate --length {size} {new} && mkswap {new} && mv {new} /swapfile"] if size else []


def motd(name: str, upkeep: Upkeep) -> str:
    return (
        f"\n  {name}: {upkeep.about}\n  Your workspace is {upkeep.workspaces}/<your name>.\n"
        "  groundcrew keeps this host: what it manages and you change by hand is overwritten.\n\n"
    )
