"""config.yaml of each node, as a value, and the faults in the settings that it comes from."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from deploys.lib.header import HEADER
from deploys.lib.k3s import hardening
from deploys.lib.k3s.files import S3, Node

PORT = 6443
# The flags of `k3s server` and `k3s agent`, which are the keys of config.yaml. `make k3s-flags` writes the file.
FLAGS = json.loads(Path(__file__).with_name("flags.json").read_text())
OF_SERVERS, OF_AGENTS = frozenset(FLAGS["server"]), frozenset(FLAGS["agent"])

# Keys that the deploys set themselves, or on which they rely, by the reason.
REASONS = {
    "set k3s_agent_token": ("agent-token", "agent-token-file"),
    "set k3s_token": ("token", "token-file"),
    "the deploy sets it from k3s_servers and k3s_registration": ("server", "cluster-init"),
    "run deploys/k3s_restore.py": ("cluster-reset", "cluster-reset-restore-path"),
    "a node has the hostname of its host": ("node-name", "with-node-id"),
    "set k3s_snapshots": (
        *("etcd-snapshot-retention", "etcd-snapshot-schedule-cron", "etcd-s3", *(f"etcd-s3-{name}" for name in S3)),
        *("etcd-s3-access-key", "etcd-s3-secret-key", "etcd-s3-session-token", "etcd-s3-retention"),
    ),
    "the deploys write /etc/rancher/k3s/config.yaml": ("config",),
    "all deploys expect /var/lib/rancher/k3s": ("data-dir",),
    "the deploys run etcd, and upgrades, snapshots and resets rely on it": ("datastore-endpoint", "disable-etcd"),
    "the deploys wait until each server is a ready node": ("disable-agent",),
    "the deploys ask each server for its nodes": ("disable-apiserver",),
    f"all nodes join at port {PORT}": ("https-listen-port",),
    "set k3s_labels: the kubelet refuses most kubernetes.io labels and then restarts for ever": ("node-label",),
    "set k3s_taints: K3s itself sets taints only once": ("node-taint",),
    "set k3s_registries": ("private-registry",),
    "the unit runs as root": ("rootless",),
    "the deploy reads /etc/rancher/k3s/k3s.yaml": ("write-kubeconfig",),
}
REFUSED = {key: reason for reason, keys in REASONS.items() for key in keys}
# K3s compares these between servers. A server with another value cannot join, or deletes what others deploy.
SAME_ON_ALL_SERVERS = {
    "disable",
    *("cluster-cidr", "cluster-dns", "cluster-domain", "service-cidr", "egress-selector-mode", "embedded-registry"),
    *("disable-cloud-controller", "disable-helm-controller", "disable-network-policy", "supervisor-metrics"),
    *("flannel-backend", "flannel-external-ip", "flannel-ipv6-masq", "secrets-encryption"),
    "secrets-encryption-provider",
}


@dataclass(frozen=True)
class Cluster:
    """The settings that all nodes share."""

    version: str
    addresses: tuple[str, ...]  # of the servers, for other nodes; the first server creates the cluster
    token: str = field(repr=False)
    agent_token: str = field(repr=False)
    endpoint: str = ""  # for people; default: the address of the first server
    registration: str = ""  # for nodes that join; default: the address of the first server
    config: Mapping[str, Any] = field(default_factory=dict)  # of servers, in addition to the defaults
    agent_config: Mapping[str, Any] = field(default_factory=dict)
    snapshots: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hardened: bool = False  # as the hardening guide of K3s says

    @property
    def url(self) -> str:
        """The address of the API for people, as their kubeconfig has it."""
        return api_url(self.endpoint or self.addresses[0])

    @property
    def join_url(self) -> str:
        return api_url(self.registration or self.addresses[0])

    @property
    def names(self) -> list[str]:
        """The names that the certificate of each server has."""
        entrances = [_host_and_port(each)[0] for each in (self.endpoint, self.registration) if each]
        return [*self.addresses, *entrances]


def api_url(address: str) -> str:
    """Return the URL of an API at an address, which can have a port of its own."""
    name, port = _host_and_port(address)
    return f"https://[{name}]:{port}" if ":" in name else f"https://{name}:{port}"


def _host_and_port(address: str) -> tuple[str, int]:
    name, separator, port = address.rpartition(":")
    if not separator or is_ip_address(address):
        return address.strip("[]"), PORT
    return name.strip("[]"), int(port) if port.isdigit() else 0


def is_ip_address(text: str) -> bool:
    """Return whether the text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def node_config(cluster: Cluster, node: Node, *, creates_cluster: bool) -> dict[str, Any]:
    """Return config.yaml of a node."""
    values: dict[str, Any] = {"token": cluster.token if node.server else cluster.agent_token, "node-name": node.name}
    if node.taints:
        values["node-taint"] = list(node.taints)
    values |= {"cluster-init": True} if creates_cluster else {"server": cluster.join_url}
    if node.interface:
        # The kubelet and etcd take node-ip, but flannel takes the interface of the default route.
        values |= {"node-ip": node.address, "flannel-iface": node.interface}
    own = {**(cluster.config if node.server else cluster.agent_config), **node.config}
    if cluster.hardened:
        own = hardening.hardened(own, server=node.server)
    if node.server:
        names = [*cluster.names, *_as_list(own.get("tls-san"))]
        values |= {"write-kubeconfig-mode": "0600", "agent-token": cluster.agent_token, **cluster.snapshots}
        own["tls-san"] = list(dict.fromkeys(names))
    return values | own


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] if value else []


def config_yaml(values: Mapping[str, Any]) -> str:
    """Return YAML with one line per key."""
    return HEADER + "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(values.items()))


def uses_ipv6(config: Mapping[str, Any]) -> bool:
    """Return whether a configuration gives nodes, pods or services IPv6 addresses."""
    keys = ("node-ip", "cluster-cidr", "service-cidr")
    return any(":" in str(value) for key in keys for value in _as_list(config.get(key)))


def interface_of(address: str, addresses: Iterable[str]) -> str:
    """Return the interface with this address in the output of `ip -oneline address`, or ""."""
    for line in addresses:
        _, name, family, own, *_ = [*line.split(), "", "", "", ""]
        if family in ("inet", "inet6") and own.partition("/")[0] == address:
            return name
    return ""


@cache
def derived_agent_token(token: str) -> str:
    """Return the token with which agents join, made from that of servers. It does not reveal the token of servers."""
    secret = token.strip().rpartition(":")[2].encode()
    return hashlib.scrypt(secret, salt=b"groundcrew agent-token", n=2**14, r=8, p=1, dklen=32).hex()


def snapshot_settings(given: Mapping[str, Any], key: str, secret: str, servers: int) -> dict[str, Any]:
    """Return the keys of config.yaml for etcd snapshots, with S3 if group data names a bucket.

    Each server saves its own snapshots. On its disk K3s counts those of the server, in S3 those of all servers.
    """
    values: dict[str, Any] = {}
    if given.get("schedule"):
        values["etcd-snapshot-schedule-cron"] = given["schedule"]
    if given.get("keep"):
        values["etcd-snapshot-retention"] = given["keep"]
    if s3 := given.get("s3"):
        values |= {"etcd-s3": True}
        values |= {"etcd-s3-access-key": key, "etcd-s3-secret-key": secret} if key else {}
        values |= {f"etcd-s3-{name}": s3[name] for name in S3 if name in s3}
        if given.get("keep"):
            values["etcd-s3-retention"] = given["keep"] * servers
    return values


def config_faults(
    given: Mapping[str, Any], hosts: Mapping[str, Mapping[str, Any]], servers: Sequence[str]
) -> Iterator[str]:
    """Yield each fault in the configuration of servers, of agents and of single hosts (by name)."""
    yield from _faults_of("k3s_config", given.get("k3s_config") or {}, OF_SERVERS)
    yield from _faults_of("k3s_agent_config", given.get("k3s_agent_config") or {}, OF_AGENTS)
    for name, data in hosts.items():
        own, where = data.get("k3s_host_config") or {}, f"{name}: k3s_host_config"
        yield from _faults_of(where, own, OF_SERVERS if name in servers else OF_AGENTS)
        for key in sorted(own.keys() & SAME_ON_ALL_SERVERS):
            if name in servers:
                yield f"{where}: {key} must be the same on all servers; set it in k3s_config"
        for key in ("k3s_config", "k3s_agent_config"):
            if data.get(key) and data[key] != given.get(key):
                yield f"{name}: {key} is read from the first server only; write k3s_host_config for one host"
    for key in ("k3s_endpoint", "k3s_registration"):
        address = str(given.get(key) or "")
        if "/" in address or (address and not all(_host_and_port(address))):
            yield f"{key}: {address} is not a name or an address; write one such as k3s.acme.example or 10.0.0.9:6443"


def _faults_of(where: str, given: Mapping[str, Any], known: frozenset[str]) -> Iterator[str]:
    for key in sorted(given):
        if key in REFUSED:
            yield f"{where}: {key} is not allowed: {REFUSED[key]}"
        elif key in OF_SERVERS - known:
            yield f"{where}: {key} is a flag of servers only; set it in k3s_config"
        elif key not in known:
            close = get_close_matches(key, known - REFUSED.keys(), 1)
            yield f"{where}: K3s {FLAGS['minor']} has no flag {key}" + (f"; did you mean {close[0]}?" if close else "")
