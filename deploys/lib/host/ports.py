"""The ports of a host, derived from its groups: what a host does decides what others reach."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pyinfra import host, inventory

from deploys.lib.host.firewall import Peers, Port, port_key, ruleset
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import peers
from deploys.lib.postgres import replication

K3S_GROUPS = frozenset({"k3s_servers", "k3s_agents"})
DATABASES = frozenset({replication.PRIMARIES, replication.STANDBYS})
DEV_SERVERS = "dev_servers"


def open_ports(
    groups: Collection[str],
    data: Mapping[str, Any],
    k3s_config: Mapping[str, Any],
    database_peers: Sequence[str] = (),
) -> list[Port]:
    """Return the ports that others reach: those in group data, and those of the groups that it does not list.

    `database_peers` are the addresses of the primary and the standbys of this host.
    """
    given: list[Port] = list(data.get("open_ports") or [22])
    listed = set(map(port_key, given))
    derived = _derived(groups, data, k3s_config, database_peers)
    return [*given, *(port for port in derived if port_key(port) not in listed)]


def _derived(
    groups: Collection[str], data: Mapping[str, Any], k3s_config: Mapping[str, Any], database_peers: Sequence[str]
) -> Iterator[Port]:
    if DATABASES & set(groups) and (sources := [*(data.get("postgres_clients") or ()), *database_peers]):
        settings = data.get("postgres_settings") or {}
        yield {"port": int(settings.get("port") or 5432), "from": sources}
    pooler = data.get("postgres_pooler") or {}
    if DATABASES & set(groups) and pooler.get("clients"):
        yield {"port": int(pooler.get("port") or 6432), "from": list(pooler["clients"])}
    if DATABASES & set(groups) and data.get("postgres_exporter") and data.get("metrics_from"):
        yield {"port": int(data["postgres_exporter"].get("port") or 9187), "from": list(data["metrics_from"])}
    if "k3s_servers" in groups:
        yield 6443
    if K3S_GROUPS & set(groups) and not {"traefik", "servicelb"} & set(_words(k3s_config.get("disable"))):
        yield from (80, 443)
    if data.get("metrics_from"):
        yield {"port": 9100, "from": list(data["metrics_from"])}


def _words(value: object) -> list[str]:
    given = value if isinstance(value, list | tuple) else [value] if value else []
    return [word.strip() for each in given for word in str(each).split(",")]


def is_dev_server() -> bool:
    """Return whether developers log in to this host."""
    return DEV_SERVERS in host.groups


def has_firewall() -> bool:
    """Return whether the deploys manage the firewall of this host."""
    is_node = bool(K3S_GROUPS & set(host.groups))
    return not is_node or k3s_cluster.cluster_hosts().settings.get("k3s_firewall") is not False


def host_rules() -> str:
    """Return the firewall of this host, as nft loads it."""
    replication.adopt_group_data()
    database_peers = replication.peer_addresses()
    if not K3S_GROUPS & set(host.groups):
        return ruleset(open_ports(host.groups, host.data.dict(), {}, database_peers))
    cluster = k3s_cluster.cluster_hosts()
    addresses = {name: k3s_cluster.addresses_of(inventory.get_host(name)) for name in cluster.all}
    config = cluster.settings.get("k3s_config") or {}
    return ruleset(
        open_ports(host.groups, host.data.dict(), config, database_peers),
        Peers(
            trusted=(*(each for name in cluster.all for each in addresses[name]), *peers.pod_networks(config)),
            servers=tuple(each for name in cluster.servers for each in addresses[name]),
        ),
    )
