"""The command lines of a lab, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# 198.18.0.0/15 is reserved for test networks, so it is free.
NETWORK = "198.18.{lab}.0/24"
GATEWAY = "198.18.{lab}.1"
HOST = "198.18.{lab}.{host}"


def bridge(lab: int) -> str:
    return f"crewlab{lab}"


def address(lab: int, host: int) -> str:
    return HOST.format(lab=lab, host=10 + host)


def overlay(layers: Sequence[Path], upper: Path, work: Path, root: Path) -> list[str]:
    """Mount the file system of a host, which writes into its own upper layer. `volatile`: nothing is kept."""
    options = f"lowerdir={':'.join(map(str, layers))},upperdir={upper},workdir={work},volatile"
    return ["mount", "-t", "overlay", "crewlab", "-o", options, str(root)]


def boot(root: Path, machine: str, name: str, on: str, groups: Sequence[Path]) -> list[str]:
    """Boot a host in its own control groups: two systemd must not share one, and they list the processes to kill.

    Its mounts end with it: systemd-nspawn 256 and newer does not boot a host again while its earlier mounts exist.
    """
    enter = "for group in {}; do echo $$ > $group/cgroup.procs; done; exec ".format(" ".join(map(str, groups)))
    nspawn = (
        f"systemd-nspawn --quiet --register=no --keep-unit --boot --directory={root} --machine={machine} "
        f"--hostname={name} --network-bridge={on} --console=passive --resolv-conf=off --timezone=off --link-journal=no"
    )
    return ["unshare", "--mount", "--propagation=slave", "sh", "-c", enter + nspawn]


def make_network(lab: int) -> list[list[str]]:
    return [
        ["ip", "address", "add", f"{GATEWAY.format(lab=lab)}/24", "dev", bridge(lab)],
        ["ip", "link", "set", bridge(lab), "up"],
    ]


def firewall(lab: int) -> str:
    """Hosts can connect to the internet through this machine. Other machines cannot connect to them."""
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
    """A new login each time: no shared connection, no prompt, no unknown host."""
    options = [part for name, value in _ssh_options(home).items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-i", str(key or home / ".ssh/id_ed25519"), *options, f"{user}@{address}"]


def ssh_config(home: Path, hosts: Mapping[str, str]) -> str:
    """The configuration for `ssh -F FILE lab-1`."""
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
