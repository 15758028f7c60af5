"""The operations of an upgrade, which meet one node, or a small batch, at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster, draining, files
from deploys.lib.k3s import nodes as k3s_nodes
from deploys.lib.k3s.artefacts import STAGED
from deploys.lib.k3s.cluster import ETCD, NotDone
from deploys.lib.k3s.files import BINARY, Node
from deploys.lib.k3s.versions import has_majority
from deploys.lib.operations import Steps

SAVING = 300  # seconds that a snapshot may take


@dataclass(frozen=True)
class Upgrade:
    """Where to, and how long each part of it may take."""

    version: str
    servers: tuple[str, ...]
    limit: int  # seconds until a node is ready
    drain: int  # seconds until its pods are elsewhere


@operation()
def snapshot_is_taken(who: str, upgrade: Upgrade) -> Steps:
    """Before the first server of an upgrade, where the cluster keeps its state in etcd."""
    if host.name != who or not _is_before_the_first(cluster.nodes(*upgrade.servers) or {}, upgrade.version):
        return
    name = f"before-{upgrade.version.replace('+', '-')}"
    yield f"timeout {SAVING} {BINARY} etcd-snapshot save --name={name}"


def _is_before_the_first(nodes: Mapping[str, Mapping[str, Any]], version: str) -> bool:
    members = [node for node in nodes.values() if ETCD in node["metadata"]["labels"]]
    return bool(members) and all(files.version_of(node) != version for node in members)


@operation()
def node_is_upgraded(who: Sequence[str], node: Node, upgrade: Upgrade) -> Steps:
    """Those who are named run another version: emptied, restarted, seen ready, open again."""
    if host.name not in who:
        return
    there = (cluster.nodes(*upgrade.servers) or {}).get(node.name)
    if not draining.is_ours(there) and files.is_up(there, upgrade.version):
        host.noop(f"{node.name} runs {upgrade.version}")
        return
    yield FunctionCommand(_upgrade, (node, upgrade), {})


def _upgrade(state: State, host: Host, node: Node, upgrade: Upgrade) -> bool:
    return cluster.logged(host, lambda: _upgraded(host, node, upgrade))


def _upgraded(host: Host, node: Node, upgrade: Upgrade) -> None:
    try:
        if not files.is_up(cluster.known(node.name, *upgrade.servers)[node.name], upgrade.version):
            _taken_down_and_up(host, node, upgrade)
        # What an admin had closed stays closed; what was closed by us is so since this run, or since one that died.
        if draining.is_ours(cluster.known(node.name, *upgrade.servers)[node.name]):
            draining.reopen(_speaker(upgrade), node.name)
    except NotDone as fault:
        there = (cluster.nodes(*upgrade.servers) or {}).get(node.name)
        if not (there and draining.is_closed(there)):
            raise
        raise NotDone(
            f"{fault}\nnode {node.name} is left cordoned, and no node after it was touched; put that right and run "
            f"this again, it goes on from there. To let {node.name} take pods as it is: kubectl uncordon {node.name}"
        ) from None


def _taken_down_and_up(host: Host, node: Node, upgrade: Upgrade) -> None:
    nodes = cluster.known(node.name, *upgrade.servers)
    if node.server and (fault := fault_of_majority(nodes, node.name)):
        raise NotDone(fault)
    cluster.must(host.name, "true", f"node {node.name} was not touched")
    draining.drain(_speaker(upgrade), node.name, nodes[node.name], upgrade.drain)
    swap = f"{{ test ! -e {STAGED} || mv {STAGED} {BINARY}; }} && systemctl restart --no-block {node.unit}"
    cluster.must(host.name, swap, f"the binary of node {node.name} could not be replaced")
    k3s_nodes.wait_until_up(host, node, upgrade.servers, upgrade.version, upgrade.limit)


def _speaker(upgrade: Upgrade) -> str:
    return cluster.speaker(*upgrade.servers) or upgrade.servers[0]


def fault_of_majority(nodes: Mapping[str, Mapping[str, Any]], without: str) -> str:
    """Why a server can't be restarted now: etcd would lose its majority over it."""
    members = {name: files.is_ready(node) for name, node in nodes.items() if ETCD in node["metadata"]["labels"]}
    down = sorted(name for name, ready in members.items() if not ready and name != without)
    if without not in members or len(members) == 1 or has_majority(len(members), len(members) - 1 - len(down)):
        return ""
    others = ", ".join(down) or "a third server"
    return f"etcd would lose its majority with {without}, since {others} is not ready; make that ready first"
