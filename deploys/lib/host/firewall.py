"""A firewall that is checked before it is in force, and that goes back by itself if it locks us out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Any

from pyinfra import host
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State

from deploys.lib.facts import HostFacts, contents, looking, printed
from deploys.lib.operations import STAMPS, Steps, sha256
from deploys.lib.rollback import Trial

FILE = "/etc/nftables.conf"
TABLE = "inet groundcrew"
BEFORE = f"{STAMPS}/firewall.before"
TRIAL = Trial(
    unit="groundcrew-firewall-back",
    what="firewall rules",
    hint="open the port of SSH",
    go_back=f"nft --file {BEFORE}",  # at once and whole, so that doing it twice does no harm
)

Port = int | str | Mapping[str, Any]


def faults(ports: Sequence[Port]) -> Iterator[str]:
    """What is wrong in a list of open ports."""
    for port in ports:
        what = port.get("port") if isinstance(port, Mapping) else port
        if not re.fullmatch(r"\d{1,5}(-\d{1,5})?(/tcp|/udp)?", str(what)):
            yield f'open_ports: {port!r}; write 22, "60000-61000/udp", or {{"port": 9100, "from": ["10.0.0.0/8"]}}'
        if isinstance(port, Mapping) and (others := sorted(set(port) - {"port", "from"})):
            yield f"open_ports: {', '.join(others)}: no such key; there are port, from"


def ruleset(ports: Sequence[Port]) -> str:
    """All that nft is to load; tables of others, such as Docker's, are left alone.

    What containers publish never comes to the input: it is passed on, to another address and port. So the port that
    counts is the one that was asked for, and both ways go through the same list.

    DHCPv6 asks by multicast, and the answer comes from the router's or server's own address (RFC 8415), so to conntrack
    it answers nothing: without a rule of its own the host would lose its IPv6 address when the lease ends.
    """
    rules = "".join(f"    {rule}\n" for port in ports for rule in _rules(port))
    text = f"""\
table {TABLE} {{
  chain open {{
{rules}  }}
  chain input {{
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "lo" accept
    meta l4proto {{ 1, 58 }} accept comment "ping and IPv6 neighbours"
    ip6 saddr fe80::/10 udp dport 546 accept comment "answers of DHCPv6"
    jump open
  }}
  chain published {{
    type filter hook forward priority filter - 1; policy accept;
    ct state established,related accept
    iifname {{ "docker*", "br-*", "podman*", "cni-*" }} accept comment "from containers"
    ct status dnat jump open
    ct status dnat drop
  }}
"""
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    return (
        "#!/usr/sbin/nft -f\n# Written by groundcrew; changes made here are overwritten.\n"
        f"table {TABLE}\ndelete table {TABLE}\n{text}  chain groundcrew-{mark} {{\n  }}\n}}\n"
    )


def _rules(port: Port) -> Iterator[str]:
    what, sources = (port["port"], port.get("from", [])) if isinstance(port, Mapping) else (port, [])
    number, _, protocol = str(what).partition("/")
    opened = f"meta l4proto {protocol or 'tcp'} ct original proto-dst {number} accept"
    if not sources:
        yield opened
    for family, kind in (("ip", "."), ("ip6", ":")):
        if those := [each for each in sources if kind in each]:
            yield f"{family} saddr {{ {', '.join(those)} }} {opened}"


IN_FORCE = f"nft list table {TABLE}"
ASKED = contents(FILE) | printed(IN_FORCE)


@looking(lambda **_: ASKED)
def firewall(seen: HostFacts, text: str) -> Steps:
    """In force, and there again after a restart of the host."""
    marked = text.rsplit("chain ", maxsplit=1)[-1].split(maxsplit=1)[0]
    if seen.sums.get(FILE) == sha256(text) and any(marked in line for line in seen.printed[IN_FORCE]):
        host.noop("the firewall is as it should be")
        return
    new = f"{FILE}.new"
    yield FileUploadCommand(StringIO(text), new, remote_temp_filename=host.get_temp_filename(new))
    yield f"chmod 755 {new} && nft --check --file {new} || {{ rm --force {new}; exit 1; }}"
    yield from in_force_for_a_while(new)
    yield FunctionCommand(_keep_or_go_back, (new,), {})


def in_force_for_a_while(new: str) -> list[str]:
    """Commands after which the new rules hold, and end by themselves unless somebody stops that.

    What a run that died has left unproven goes back first, so that the rules that are saved are always proven ones.
    """
    table = f"echo 'table {TABLE}'; echo 'delete table {TABLE}'; nft list table {TABLE} 2>/dev/null || true"
    return [
        f"! systemctl --quiet is-active {TRIAL.unit}.timer || {{ {TRIAL.go_back} && {TRIAL.end}; }}",
        f"mkdir --parents {STAMPS} && {{ {table}; }} > {BEFORE}",
        TRIAL.begin,
        f"nft --file {new}",
    ]


def _keep_or_go_back(state: State, host: Host, new: str) -> bool:
    return TRIAL.kept_or_gone_back(state, host, keep=f"mv {new} {FILE}", tidy=f"rm --force {new}")
