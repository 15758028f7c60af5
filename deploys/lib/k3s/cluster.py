"""A cluster: which hosts it is made of, and what it tells of itself."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pyinfra import host, inventory
from pyinfra.api import Host
from pyinfra.api.exceptions import ConnectError

from deploys.lib import preflight
from deploys.lib.k3s.files import BINARY, DATA, Node
from deploys.lib.operations import quietly

ETCD = "node-role.kubernetes.io/etcd"
PATIENCE = 10  # seconds that a server may take for a simple question


class NotDone(Exception):
    """What kept something from being done, in words for who runs the deploy."""


@dataclass(frozen=True)
class Hosts:
    """The hosts of a cluster, by the names that they have in the inventory."""

    environment: str
    servers: tuple[str, ...]
    agents: tuple[str, ...]
    given: Mapping[str, Any] = field(repr=False)  # group data of the first server: the cluster's

    @property
    def first(self) -> str:
        return self.servers[0]

    @property
    def all(self) -> tuple[str, ...]:
        return self.servers + self.agents


def hosts() -> Hosts:
    servers = preflight.group("k3s_servers")
    agents = [each.name for each in inventory.groups.get("k3s_agents", []) if each.name not in servers]
    given = inventory.get_host(servers[0]).data.dict()
    return Hosts(host.groups[-1], tuple(servers), tuple(agents), given)


def node_of(cluster: Hosts) -> Node:
    """This host as a node."""
    return Node(
        name=node_name(host.name),
        server=host.name in cluster.servers,
        labels=tuple(host.data.get("k3s_labels") or ()),
        taints=tuple(host.data.get("k3s_taints") or ()),
    )


def names_of_hosts(cluster: Hosts) -> dict[str, list[str]]:
    """Of each host that tells them its hostname and its machine-id."""
    asked = {name: ask(name, "hostname; cat /etc/machine-id") for name in cluster.all}
    return {name: printed for name, (told, printed) in asked.items() if told and len(printed) == 2}


def node_name(name: str) -> str:
    """What a host's node is called."""
    told, printed = ask(name, "hostname")
    if not told:
        raise preflight.DeployError(f"{name} does not tell its hostname: {'; '.join(printed)}")
    return printed[0].lower()


def nodes(*servers: str) -> dict[str, dict[str, Any]] | None:
    """All nodes by their names, as the first server tells that can; None if none of them can."""
    for server in servers:
        told, printed = kubectl(server, "get", "nodes", "--output=json", seconds=PATIENCE)
        if told:
            return {one["metadata"]["name"]: one for one in json.loads("".join(printed))["items"]}
    return None


def faults_of_founding(cluster: Hosts) -> Iterator[str]:
    """The first server founds a cluster where it has none: not beside one that is there."""
    first, *others = cluster.servers
    if others and not _has_state(first) and (with_it := [name for name in others if _has_state(name)]):
        yield (
            f"{first} would found a cluster, and {', '.join(with_it)} has one already; let {first} join that: "
            f"name {with_it[0]} before it in k3s_servers"
        )


def _has_state(server: str) -> bool:
    return ask(server, f"test -e {DATA}/server/db/etcd || test -e {DATA}/server/db/state.db")[0]


def faults_of_node(name: str, known: Mapping[str, object] | None) -> Iterator[str]:
    """Why nothing can be done with a node of a running cluster."""
    if known is None:
        yield "no server of the cluster answers; make one work first: deploys/k3s.py, or deploys/k3s_restore.py"
    elif name not in known:
        yield f"{name} is no node of the cluster (there are {', '.join(sorted(known))}); run deploys/k3s.py first"


def known(name: str, *servers: str) -> dict[str, dict[str, Any]]:
    """All nodes, this one among them; servers that have just been restarted get a moment to answer."""
    end = time.monotonic() + PATIENCE
    while (told := nodes(*servers)) is None and time.monotonic() < end:
        time.sleep(0.5)
    for fault in faults_of_node(name, told):
        raise NotDone(fault)
    return told or {}


def speaker(*servers: str) -> str | None:
    """The first of the servers that has an answer."""
    return next((each for each in servers if kubectl(each, "get", "--raw=/readyz", seconds=PATIENCE)[0]), None)


def kubectl(server: str, *words: str, seconds: int) -> tuple[bool, list[str]]:
    """Ask the cluster through a server."""
    return ask(server, f"timeout {seconds} {BINARY} kubectl {shlex.join(words)}")


def ask(name: str, command: str) -> tuple[bool, list[str]]:
    """Ask a host, also one that --limit has left out or that is gone: whether it did well, and what it printed."""
    asked = inventory.get_host(name)
    try:
        if not asked.connected:
            asked.connect(show_errors=False, raise_exceptions=True)
    except ConnectError as error:
        return False, [f"{name} can't be reached: {error}"]
    return quietly(asked, command)


def must(name: str, command: str, otherwise: str) -> None:
    """Have a host do something, or end with these words and what it said."""
    told, printed = ask(name, command)
    if not told:
        raise NotDone("\n    ".join([f"{otherwise}:", *printed]))


def must_kubectl(server: str, *words: str, otherwise: str, seconds: int = PATIENCE) -> None:
    told, printed = kubectl(server, *words, seconds=seconds)
    if not told:
        said = "; ".join(line for line in printed[-3:] if line) or f"there was no answer within {seconds} s"
        raise NotDone(f"{otherwise}: {said}")


def logged(host: Host, act: Callable[[], None]) -> bool:
    """Do something, or say what kept it from being done: how an operation's function ends."""
    try:
        act()
    except NotDone as fault:
        host.log(str(fault))
        return False
    return True
