"""The addresses of a cluster: only its nodes and pods reach the ports that K3s itself needs."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from deploys.lib.facts import HostFacts, operation_with_facts, paths
from deploys.lib.k3s.files import FIREWALL_UNIT
from deploys.lib.k3s.node_config import is_ip_address
from deploys.lib.operations import Steps

NETWORKS = {"cluster-cidr": "10.42.0.0/16", "service-cidr": "10.43.0.0/16"}  # of pods and services, by default
# Networks that a host makes itself: those of pods and containers.
VIRTUAL = ("br-", "cali", "cilium", "cni", "docker", "flannel", "kube-", "lxc", "podman", "veth", "virbr")
# An earlier version had a firewall of its own.
OLD_RULES, OLD_UNIT = "/etc/rancher/k3s/firewall.nft", f"/etc/systemd/system/{FIREWALL_UNIT}"


def is_wanted(given: object, addresses: Mapping[str, str], *, has_base: bool) -> bool:
    """Return whether k3s.py keeps the firewall of hosts up to date.

    By default it does so if each host has an address for other nodes, or if host.py has set up the firewall.
    """
    return has_base or all(map(is_ip_address, addresses.values())) if given is None else bool(given)


def firewall_faults(given: object, addresses: Mapping[str, str]) -> Iterator[str]:
    """Yield a fault for each host whose k3s_address is not an IP address, if group data asks for the firewall."""
    for name, address in addresses.items():
        if given and address and not is_ip_address(address):
            yield f"k3s_firewall: k3s_address of {name} is {address}, not an IP address; set it to one in the inventory"


def own_addresses(lines: Sequence[str]) -> tuple[str, ...]:
    """Return the addresses from which a host reaches others, from the output of `ip -oneline address`."""
    words = [line.split() for line in lines if " scope global " in line and " temporary " not in line]
    return tuple(address.partition("/")[0] for _, name, _, address, *_ in words if not name.startswith(VIRTUAL))


def pod_networks(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the networks of pods in k3s_config."""
    return _networks(config, "cluster-cidr")


def _networks(config: Mapping[str, Any], key: str) -> tuple[str, ...]:
    given = config.get(key) or NETWORKS[key]
    return tuple(
        each.strip() for part in ([given] if isinstance(given, str) else given) for each in str(part).split(",")
    )


def network_faults(config: Mapping[str, Any], addresses: Iterable[str]) -> Iterator[str]:
    """Yield a fault for each address of a node that pods and services can have too. K3s can't change their networks."""
    ours = {each: ipaddress.ip_address(each) for each in addresses if is_ip_address(each)}
    for key, default in NETWORKS.items():
        for network in _networks(config, key):
            try:
                parsed = ipaddress.ip_network(network, strict=False)
            except ValueError:
                yield f"k3s_config: {key}: {network} is not a network; write one such as {default}"
                continue
            for address in (each for each, ip in ours.items() if ip in parsed):
                yield f"k3s_config: {address} of a node is in {key}, {network}; set {key} to a network that is free"


@operation_with_facts(lambda **_: paths(OLD_UNIT))
def remove_old_firewall(facts: HostFacts) -> Steps:
    """Remove the firewall of an earlier version."""
    if OLD_UNIT in facts.paths:
        yield f"systemctl disable --quiet --now {FIREWALL_UNIT}"
        yield f"rm --force {OLD_UNIT} {OLD_RULES} && systemctl daemon-reload"
