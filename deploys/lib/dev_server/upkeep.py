"""What a dev server has beside the base of every host: swap, containers, workspaces."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploys.lib.header import HEADER
from deploys.lib.preflight import stop_on_faults

PACKAGES = ("acl",)


@dataclass(frozen=True)
class Upkeep:
    """The group data for the upkeep of a dev server."""

    containers: str
    docker_settings: Mapping[str, object]
    workspaces: str
    swap: str
    more_packages: tuple[str, ...]
    about: str

    @property
    def packages(self) -> tuple[str, ...]:
        return (*CONTAINERS[self.containers].packages, *self.more_packages)

    @property
    def files(self) -> Mapping[str, str]:
        """The text of each file that the deploy writes, by path."""
        return {path: text(self) for path, text in {**FILES, **CONTAINERS[self.containers].files}.items()}

    @property
    def units(self) -> Mapping[str, ServiceUnit]:
        return {**UNITS, **CONTAINERS[self.containers].units}

    @classmethod
    def from_group_data(cls, given: Any, name: str) -> Upkeep:
        """Return the upkeep of the host `name`; raise DeployError with all faults."""
        upkeep = cls(
            containers=given.get("containers") or "",
            docker_settings=given.get("docker_settings") or {},
            workspaces=given.get("workspaces") or "/srv/workspaces",
            swap=given.get("swap") or "",
            more_packages=tuple(given.get("packages") or ()),
            about=given.get("about") or "A server that developers share.",
        )
        stop_on_faults(f"{name}: {fault}" for fault in upkeep.faults())
        return upkeep

    def faults(self) -> Iterator[str]:
        """Yield each fault in the group data."""
        if self.containers not in CONTAINERS:
            yield f'containers: {self.containers!r} is not allowed; use "podman", "docker" or ""'
        if not isinstance(self.docker_settings, Mapping):
            yield f'docker_settings: {self.docker_settings!r} is not a table; use {{"registry-mirrors": ["https://…"]}}'
        if self.swap and not re.fullmatch(r"\d+[MG]", self.swap):
            yield f'swap: {self.swap!r} is not a size; use one such as "4G"'
        if not re.fullmatch(r"(/[\w.-]+)+", self.workspaces):
            yield f"workspaces: {self.workspaces!r} is not an absolute path; use one such as /srv/workspaces"


def _swap(upkeep: Upkeep) -> str:
    return (
        f"{HEADER}[Unit]\nDescription=Swap file\nConditionPathExists=/swapfile\nConditionVirtualization=!container\n"
        "[Swap]\nWhat=/swapfile\n[Install]\nWantedBy=swap.target\n"
    )


def _short_names(upkeep: Upkeep) -> str:
    """Make `podman run alpine` pull the image that `docker run alpine` pulls."""
    return f'{HEADER}unqualified-search-registries = ["docker.io"]\n'


def _docker(upkeep: Upkeep) -> str:
    """Limit container logs, and keep containers running while the daemon restarts."""
    settings = {"log-driver": "local", "log-opts": {"max-size": "20m", "max-file": "5"}, "live-restore": True}
    return json.dumps({**settings, **upkeep.docker_settings}, indent=2, sort_keys=True)


@dataclass(frozen=True)
class ServiceUnit:
    """A systemd unit: the files that it reads at its start, and whether it is a oneshot service."""

    files: Sequence[str] = ()
    oneshot: bool = False


@dataclass(frozen=True)
class Containers:
    """The packages, files and units of a container engine."""

    packages: Sequence[str] = ()
    files: Mapping[str, Callable[[Upkeep], str]] = field(default_factory=dict)
    units: Mapping[str, ServiceUnit] = field(default_factory=dict)


SWAP, SWAP_NEW = "/swapfile", "/swapfile.new"
# If there is no swap file, print the MiB that it can use: the free space, and the space of an unfinished swap file.
FREE_FOR_SWAP = f"test -e {SWAP} || {{ df --output=avail -B1M / | tail -1; du --block-size=1M {SWAP_NEW} | cut -f1; }}"
DOCKER = "/etc/docker/daemon.json"
# dockerd checks its file, unless it is too old for --validate, as on Debian 12.
CHECKS = {DOCKER: "{{ ! dockerd --help | grep --quiet -e --validate || dockerd --validate --config-file={}; }}"}
CONTAINERS = {
    "": Containers(),
    "podman": Containers(
        packages=("podman", "uidmap", "slirp4netns", "fuse-overlayfs"),
        files={"/etc/containers/registries.conf.d/groundcrew.conf": _short_names},
    ),
    "docker": Containers(
        packages=("docker.io", "containerd"), files={DOCKER: _docker}, units={"docker.service": ServiceUnit([DOCKER])}
    ),
}
FILES = {"/etc/systemd/system/swapfile.swap": _swap}
UNITS = {"swapfile.swap": ServiceUnit()}


def swap_commands(size: str) -> list[str]:
    """Return the command that creates a swap file that only root can read; if it fails, it leaves nothing behind."""
    new = SWAP_NEW
    made = f"umask 077 && fallocate --length {size} {new} && mkswap {new} && mv {new} {SWAP}"
    return [f"{made} || {{ rm --force {new}; exit 1; }}"] if size else []


def swap_faults(size: str, available: Sequence[str], kept_free: int) -> Iterator[str]:
    """Yield a fault if a new swap file does not fit on the disk; `available` is the output of FREE_FOR_SWAP."""
    free = sum(map(int, available))
    if size and available and free < mebibytes(size) + kept_free:
        yield (
            f"swap: {size} does not fit: the disk of {SWAP} has {free} MiB free, and {kept_free} MiB must stay free; "
            "free some space, or set a smaller swap"
        )


def mebibytes(size: str) -> int:
    return int(size[:-1]) * {"M": 1, "G": 1024}[size[-1]]


def motd(name: str, upkeep: Upkeep) -> str:
    return (
        f"\n  {name}: {upkeep.about}\n  Your workspace is {upkeep.workspaces}/<your name>.\n"
        "  groundcrew manages this host: it overwrites manual changes to the files that it writes.\n\n"
    )
