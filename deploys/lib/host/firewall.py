"""An nftables firewall. It is checked first, and the previous rules come back if the new ones lock you out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.lib.facts import HostFacts, command_output, file_contents, operation_with_facts
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER
from deploys.lib.operations import STAMP_FOLDER, Steps, sha256
from deploys.lib.rollback import TimedRollback

FILE = "/etc/nftables.conf"
TABLE = "inet groundcrew"
PREVIOUS = f"{STAMP_FOLDER}/firewall.previous"
ROLLBACK = TimedRollback(
    unit="groundcrew-firewall-rollback",
    subject="firewall rules",
    hint="add the SSH port to open_ports",
    restore_command=f"nft --file {PREVIOUS}",  # atomic, and safe to run twice
)

Port = int | str | Mapping[str, Any]
ETCD = "2379-2380"


@dataclass(frozen=True)
class Peers:
    """The cluster of a host."""

    trusted: tuple[str, ...]  # addresses of nodes and networks of pods, which reach every port but those of etcd
    servers: tuple[str, ...]  # addresses that reach etcd


def faults(ports: Sequence[Port]) -> Iterator[str]:
    """Yield each fault in the list of open ports."""
    for port in ports:
        number = port.get("port") if isinstance(port, Mapping) else port
        if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(/tcp|/udp)?", str(number)):
            yield f'open_ports: {port!r}; write 22, "60000-61000/udp", or {{"port": 9100, "from": ["10.0.0.0/8"]}}'
        if isinstance(port, Mapping):
            yield from unknown_keys("open_ports", port, ("port", "from"))


def port_key(port: Port) -> str:
    """Return a port as number and protocol, such as 22/tcp."""
    number = str(port.get("port") if isinstance(port, Mapping) else port)
    return number if "/" in number else f"{number}/tcp"


def ruleset(ports: Sequence[Port], peers: Peers | None = None) -> str:
    """Return the rules as nft loads them. They leave other tables, such as Docker's and those of K3s, alone.

    Traffic to a container's published port never reaches the input chain: DNAT changes its address and port, and it is
    forwarded. So both chains use one list, and compare the port before DNAT.

    A DHCPv6 client asks by multicast, and the answer comes from another address (RFC 8415). conntrack can't relate the
    two. Without its own rule the host would lose its IPv6 address when the lease ends.
    """
    rules = "".join(f"    {rule}\n" for port in ports for rule in _rules(port))
    chain, from_etcd, from_peers = "", "", ""
    if peers:
        trusted = "".join(f"    {source} accept\n" for source in _sources(peers.trusted))
        chain = f"  chain peers {{\n{trusted}  }}\n"
        from_etcd = "".join(f"    {source} tcp dport {ETCD} accept\n" for source in _sources(peers.servers))
        from_etcd += f'    tcp dport {ETCD} drop comment "etcd"\n'
        from_peers = "    jump peers\n"
    text = f"""\
table {TABLE} {{
  chain open {{
{rules}  }}
{chain}  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lo" accept
    meta l4proto {{ 1, 58 }} accept comment "ping and IPv6 neighbours"
    ip6 saddr fe80::/10 udp dport 546 accept comment "answers of DHCPv6"
{from_etcd}{from_peers}    jump open
  }}
  chain published {{
    type filter hook forward priority filter - 1; policy accept;
    ct state established,related accept
    iifname {{ "docker*", "br-*", "podman*", "cni-*" }} accept comment "from containers"
{from_peers}    ct status dnat jump open
    ct status dnat drop
  }}
"""
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return (
        f"#!/usr/sbin/nft -f\n{HEADER}"
        f"table {TABLE}\ndelete table {TABLE}\n{text}  chain groundcrew-{mark} {{\n  }}\n}}\n"
    )


def _rules(port: Port) -> Iterator[str]:
    opened, sources = (port["port"], port.get("from", [])) if isinstance(port, Mapping) else (port, [])
    number, _, protocol = str(opened).partition("/")
    rule = f"meta l4proto {protocol or 'tcp'} ct original proto-dst {number} accept"
    yield from (f"{source} {rule}" for source in _sources(sources)) if sources else [rule]


def _sources(addresses: Iterable[str]) -> Iterator[str]:
    """Yield a match per address family."""
    for family, separator in (("ip", "."), ("ip6", ":")):
        if members := sorted({each for each in addresses if separator in each}):
            yield f"{family} saddr {{ {', '.join(members)} }}"


LIST_TABLE = f"nft list table {TABLE}"
QUESTIONS = file_contents(FILE) | command_output(LIST_TABLE)


@operation_with_facts(lambda **_: QUESTIONS)
def apply_firewall(facts: HostFacts, text: str) -> Steps:
    """Load the rules now, and again whenever the host boots."""
    mark = text.rsplit("chain ", maxsplit=1)[-1].split(maxsplit=1)[0]
    if facts.checksums.get(FILE) == sha256(text) and any(mark in line for line in facts.output[LIST_TABLE]):
        host.noop("the firewall is up to date")
        return
    new = f"{FILE}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield f"chmod 755 {new} && nft --check --file {new} || {{ rm --force {new}; exit 1; }}"
    yield from activate_rules(new)
    yield FunctionCommand(_confirm_or_restore, (new,), {})


def activate_rules(new: str) -> list[str]:
    """Return the commands that load the new rules and start the rollback timer.

    If an interrupted run left unconfirmed rules, they are rolled back first. So the saved rules are always confirmed.
    """
    table = f"echo 'table {TABLE}'; echo 'delete table {TABLE}'; nft list table {TABLE} 2>/dev/null || true"
    return [
        f"! systemctl --quiet is-active {ROLLBACK.unit}.timer || "
        f"{{ {ROLLBACK.restore_command} && {ROLLBACK.stop_timer}; }}",
        f"mkdir --parents {STAMP_FOLDER} && {{ {table}; }} > {PREVIOUS}",
        ROLLBACK.start_timer,
        f"nft --file {new}",
    ]


def _confirm_or_restore(state: State, host: Host, new: str) -> bool:
    return ROLLBACK.confirm_or_restore(state, host, confirm=f"mv {new} {FILE}", cleanup=f"rm --force {new}")
