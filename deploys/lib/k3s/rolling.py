"""Operations of a rolling upgrade: one node, or a small batch of agents, at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster, draining, files
from deploys.lib.k3s import nodes as k3s_nodes
from deploys.lib.k3s.artefacts import STAGED
from deploys.lib.k3s.cluster import ETCD, StepFailed
from deploys.lib.k3s.draining import Drain
from deploys.lib.k3s.files import BINARY, Node
from deploys.lib.k3s.versions import has_majority
from deploys.lib.operations import Steps

SNAPSHOT_TIMEOUT = 300  # seconds


@dataclass(frozen=True)
class Upgrade:
    """The target version, the servers and the time limits of an upgrade."""

    version: str
    servers: tuple[str, ...]
    limit: int  # seconds for a node to become ready
    drain: Drain  # how its pods move to other nodes


@operation()
def take_snapshot(server: str, upgrade: Upgrade) -> Steps:
    """Save an etcd snapshot on `server`, unless an upgraded server exists or the cluster has no etcd."""
    if host.name != server or not _is_before_first_server(cluster.read_nodes(*upgrade.servers) or {}, upgrade.version):
        return
    name = f"before-{upgrade.version.replace('+', '-')}"
    yield f"timeout {SNAPSHOT_TIMEOUT} {BINARY} etcd-snapshot save --name={name}"


def _is_before_first_server(nodes: Mapping[str, Mapping[str, Any]], version: str) -> bool:
    members = [node for node in nodes.values() if ETCD in node["metadata"]["labels"]]
    return bool(members) and all(files.kubelet_version(node) != version for node in members)


@operation()
def upgrade_node(hosts: Sequence[str], node: Node, upgrade: Upgrade) -> Steps:
    """Upgrade these hosts: drain, replace the binary, restart, wait until ready, uncordon."""
    if host.name not in hosts:
        return
    current = (cluster.read_nodes(*upgrade.servers) or {}).get(node.name)
    if not draining.is_cordoned_by_us(current) and files.is_ready_at(current, upgrade.version):
        host.noop(f"{node.name} runs {upgrade.version}")
        return
    yield FunctionCommand(_upgrade, (node, upgrade), {})


def _upgrade(state: State, host: Host, node: Node, upgrade: Upgrade) -> bool:
    return cluster.log_failure(host, lambda: _upgrade_steps(host, node, upgrade))


def _upgrade_steps(host: Host, node: Node, upgrade: Upgrade) -> None:
    try:
        if not files.is_ready_at(cluster.require_node(node.name, *upgrade.servers)[node.name], upgrade.version):
            _drain_and_restart(host, node, upgrade)
        # A node that an admin cordoned stays cordoned. The annotation also marks nodes of an interrupted run.
        if draining.is_cordoned_by_us(cluster.require_node(node.name, *upgrade.servers)[node.name]):
            draining.uncordon(_api_server(upgrade), node.name)
    except StepFailed as failure:
        current = (cluster.read_nodes(*upgrade.servers) or {}).get(node.name)
        if not (current and draining.is_cordoned(current)):
            raise
        raise StepFailed(
            f"{failure}\nnode {node.name} stays cordoned, and no later node was changed; fix the problem and run this "
            f"again, to continue from there. To use the node as it is: kubectl uncordon {node.name}"
        ) from None


def _drain_and_restart(host: Host, node: Node, upgrade: Upgrade) -> None:
    nodes = cluster.require_node(node.name, *upgrade.servers)
    if node.server and (fault := restart_fault(nodes, node.name)):
        raise StepFailed(fault)
    cluster.run_or_fail(host.name, "true", f"node {node.name} was not changed, since its host does not answer")
    draining.drain(_api_server(upgrade), node.name, nodes[node.name], upgrade.drain)
    swap = f"{{ test ! -e {STAGED} || mv {STAGED} {BINARY}; }} && systemctl restart --no-block {node.unit}"
    cluster.run_or_fail(host.name, swap, f"replacing the binary of node {node.name} failed")
    k3s_nodes.wait_until_ready(host, node, upgrade.servers, upgrade.version, upgrade.limit)


def _api_server(upgrade: Upgrade) -> str:
    return cluster.responsive_server(*upgrade.servers) or upgrade.servers[0]


def restart_fault(nodes: Mapping[str, Mapping[str, Any]], without: str) -> str:
    """Return why a server can't restart now, if etcd would lose its quorum; else ""."""
    members = {name: files.is_ready(node) for name, node in nodes.items() if ETCD in node["metadata"]["labels"]}
    down = sorted(name for name, ready in members.items() if not ready and name != without)
    if without not in members or len(members) == 1 or has_majority(len(members), len(members) - 1 - len(down)):
        return ""
    others = ", ".join(down) or "a third server"
    return f"etcd would lose its quorum without {without}, since {others} is not ready; repair {others} first"
