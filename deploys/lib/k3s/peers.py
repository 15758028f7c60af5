"""A firewall on cluster hosts: only nodes and pods reach the ports of the cluster itself.

It changes nothing else, neither SSH nor the Kubernetes API nor ports of services. So it cannot lock you out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploys.lib.facts import HostFacts, operation_with_facts, paths
from deploys.lib.header import HEADER
from deploys.lib.k3s.files import FIREWALL_UNIT
from deploys.lib.k3s.node_config import is_ip_address
from deploys.lib.operations import Steps

TABLE = "inet groundcrew_k3s"
RULES_FILE = "/etc/rancher/k3s/firewall.nft"
UNIT_FILE = f"/etc/systemd/system/{FIREWALL_UNIT}"
TCP = "2379-2381, 5001, 10250"  # etcd, the embedded registry, the kubelet
UDP = "8472, 51820, 51821"  # VXLAN, which has no authentication, and WireGuard
POD_NETWORK = "10.42.0.0/16"

UNIT_TEXT = f"""\
{HEADER}[Unit]
Description=Firewall of the K3s ports
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft --file {RULES_FILE}
ExecReload=/usr/sbin/nft --file {RULES_FILE}
ExecStop=/usr/sbin/nft delete table {TABLE}
[Install]
WantedBy=sysinit.target
"""


def is_wanted(given: object, addresses: Mapping[str, str]) -> bool:
    """Return whether hosts get the firewall. By default they do if each has an address for other nodes."""
    return all(map(is_ip_address, addresses.values())) if given is None else bool(given)


def firewall_faults(given: object, addresses: Mapping[str, str]) -> Iterator[str]:
    """Yield a fault for each host whose address is not known, if group data asks for the firewall."""
    for name, address in addresses.items():
        if given and not is_ip_address(address):
            yield f"k3s_firewall: the address of {name} is not known; set k3s_address to it in the inventory"


def firewall_rules(addresses: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """Return the rules as nft loads them. Other tables stay as they are."""
    given = config.get("cluster-cidr") or POD_NETWORK
    pods = [each for part in ([given] if isinstance(given, str) else given) for each in str(part).split(",")]
    accepted = "".join(
        f"    {family} saddr {{ {', '.join(members)} }} accept\n"
        for family, separator in (("ip", "."), ("ip6", ":"))
        if (members := [each.strip() for each in [*addresses.values(), *pods] if separator in each])
    )
    return f"""\
{HEADER}table {TABLE}
delete table {TABLE}
table {TABLE} {{
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    iifname "lo" accept
{accepted}    tcp dport {{ {TCP} }} drop
    udp dport {{ {UDP} }} drop
  }}
}}
"""


@operation_with_facts(lambda **_: paths(UNIT_FILE))
def remove_firewall(facts: HostFacts) -> Steps:
    """Remove the firewall of an earlier run."""
    if UNIT_FILE in facts.paths:
        yield f"systemctl disable --quiet --now {FIREWALL_UNIT}"
        yield f"rm --force {UNIT_FILE} {RULES_FILE} && systemctl daemon-reload"
