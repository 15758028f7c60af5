"""What the lab needs of this machine, and the settings of its apt that the hosts use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "flock": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
ARCHIVE = "http://deb.debian.org/debian"
HOST_CERTIFICATES = Path("/usr/local/share/ca-certificates")
APT_SECTIONS = ("Acquire::http", "Acquire::https", "Acquire::Languages", "Acquire::Check-", "Acquire::Retries")


class LabCannotRun(Exception):
    """This machine lacks something that the lab needs."""


@dataclass(frozen=True)
class Apt:
    """The mirrors of this machine's apt, and its settings to reach them."""

    mirror: str
    security: str
    settings: str
    proxy: str


def check() -> None:
    """Raise LabCannotRun if hosts cannot be booted here."""
    if fault := why_not_here():
        raise LabCannotRun(fault)


def why_not_here() -> str:
    return why_not(sys.platform, os.geteuid(), [name for name in PROGRAMS if not shutil.which(name)])


def why_not(platform: str, user: int, missing: Iterable[str]) -> str:
    """The reason why the lab cannot run, or nothing."""
    if platform != "linux":
        return f"the lab boots Debian hosts in systemd-nspawn, and this is {platform}; run it on Linux"
    if user != 0:
        return "the lab mounts file systems and makes a network, which needs root; run it as root, or with sudo"
    if packages := sorted({PROGRAMS[name] for name in missing}):
        return f"the lab needs packages that are not installed; as root: apt-get install {' '.join(packages)}"
    return ""


def apt() -> Apt:
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    proxy = subprocess.run(
        ["apt-config", "shell", "PROXY", "Acquire::http::Proxy"], capture_output=True, text=True, check=True
    ).stdout
    mirror, security = mirrors(targets)
    found = proxy.strip().removeprefix("PROXY=").strip("'") or os.environ.get("http_proxy", "")
    return Apt(mirror, security, settings(dump, found), found)


def mirrors(targets: str) -> tuple[str, str]:
    """The addresses of Debian's archive and its security archive, from lines "address release".

    The apt of another distribution does not know them.
    """
    lines = [line.split() for line in targets.splitlines()]
    security = [address for address, release in lines if "security" in release]
    plain = [address for address, release in lines if "security" not in release and "/debian" in address]
    if not plain:
        return ARCHIVE, f"{ARCHIVE}-security"
    return plain[0], security[0] if security else f"{plain[0].rstrip('/')}-security"


def settings(dump: str, proxy: str) -> str:
    """The lines of `apt-config dump` with the settings to reach a mirror."""
    lines = [line for line in dump.splitlines() if line.startswith(APT_SECTIONS)]
    if proxy and not any("::Proxy " in line for line in lines):
        lines.append(f'Acquire::http::Proxy "{proxy}";')
    return "".join(f"{line}\n" for line in lines)


def resolvers() -> str:
    """This machine's resolv.conf, or that of systemd-resolved if it names this machine as the resolver."""
    plain = Path("/etc/resolv.conf").read_text()
    behind = Path("/run/systemd/resolve/resolv.conf")
    return behind.read_text() if "nameserver 127." in plain and behind.exists() else plain
