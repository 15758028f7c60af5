"""The command lines that a lab is made of, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# 198.18.0.0/15 is set aside for test networks: nobody's own network is there.
NETWORK = "198.18.{lab}.0/24"
GATEWAY = "198.18.{lab}.1"
HOST = "198.18.{lab}.{host}"


def bridge(lab: int) -> str:
    return f"crewlab{lab}"


def address(lab: int, host: int) -> str:
    return HOST.format(lab=lab, host=10 + host)


def overlay(layers: Sequence[Path], upper: Path, work: Path, root: Path) -> list[str]:
    """A host writes into its own upper layer; `volatile` since nothing of it outlives the lab."""
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work},volatile"
    return ["mount", "-t", "overlay", "crewlab", "-o", options, str(root)]


def boot(root: Path, machine: str, name: str, on: str, groups: Sequence[Path]) -> list[str]:
    """Boot a host in control groups of its own: its systemd must not meet another's, and they tell what to end."""
    enter = "for group in {}; do echo $$ > $group/cgroup.procs; done; exec ".format(" ".join(map(str, groups)))
    nspawn = (
        f"systemd-nspawn --quiet --register=no --keep-unit --boot --directory={root} --machine={machine} "
        f"--hostname={name} --network-bridge={on} --console=passive --resolv-conf=off --timezone=off --link-journal=no"
    )
    return ["sh", "-c", enter + nspawn]


def make_network(lab: int) -> list[list[str]]:
    return [
        ["ip", "address", "add", f"{GATEWAY.format(lab=lab)}/24", "dev", bridge(lab)],
        ["ip", "link", "set", bridge(lab), "up"],
    ]


def firewall(lab: int) -> str:
    """The hosts reach the world through this machine; nobody reaches them from outside."""
    name, network = bridge(lab), NETWORK.format(lab=lab)
    return f"""table ip {name} {{
  chain outwards {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {network} oifname != "{name}" masquerade
  }}
  chain through {{
    type filter hook forward priority mangle; policy accept;
    tcp flags syn tcp option maxseg size set rt mtu
    oifname "{name}" iifname != "{name}" ct state new drop
  }}
}}
"""


def ssh(home: Path, address: str, user: str, key: Path | None = None) -> list[str]:
    """A login of its own each time: no shared connection, no prompt, no unknown host."""
    options = [part for name, value in _ssh_options(home).items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(key or home / ".ssh/id_ed25519"), *options, f"{user}@{address}"]


def ssh_config(home: Path, hosts: Mapping[str, str]) -> str:
    """For a person: `ssh -F this lab-1`."""
    options = {"User": "root", "IdentityFile": home / ".ssh/id_ed25519", **_ssh_options(home)}
    named = "".join(f"Host {name}\n  HostName {address}\n" for name, address in hosts.items())
    return named + "Host *\n" + "".join(f"  {name} {value}\n" for name, value in options.items())


def _ssh_options(home: Path) -> dict[str, str]:
    return {
        "BatchMode": "yes",
        "ConnectTimeout": "5",
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(home / ".ssh/known_hosts"),
    }
