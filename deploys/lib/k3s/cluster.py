"""The hosts of a cluster, and commands on them through SSH and kubectl."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from pyinfra import host, inventory
from pyinfra.api import Host
from pyinfra.api.exceptions import ConnectError

from deploys.lib import preflight
from deploys.lib.header import SENTENCE
from deploys.lib.k3s.files import BINARY, DATA, Node, kubelet_version
from deploys.lib.k3s.node_config import is_ip_address, uses_ipv6
from deploys.lib.k3s.peers import own_addresses
from deploys.lib.messages import log_message
from deploys.lib.operations import run_silently
from inventories.printable import printable_lines

T = TypeVar("T")

ETCD, CONTROL_PLANE = (f"node-role.kubernetes.io/{role}" for role in ("etcd", "control-plane"))
ANSWER_TIMEOUT = 10  # seconds that a server has to answer a simple question
COMPARE_TIMEOUT = 60
ETCD_PATIENCE = 60  # seconds in which etcd elects a leader, or a slow disk catches up
_ETCD_IS_BUSY = re.compile("etcdserver: (?:request timed out|leader changed|no leader|too many requests)")
_NOT_COMPARABLE = re.compile(r"\(NotFound\): namespaces |does not support dry run")
_DIFFERENT = "different"
_ETCD_REMEDY = (
    f"etcd was busy for {ETCD_PATIENCE} s: check that most servers run and that their disks are neither full nor slow, "
    "then run this again"
)


class StepFailed(Exception):
    """A step failed; the message is for the person who runs the deploy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable_lines(message))  # output of a host is text from outside


@dataclass(frozen=True)
class ClusterHosts:
    """The hosts of a cluster, by their names in the inventory."""

    environment: str
    servers: tuple[str, ...]
    agents: tuple[str, ...]
    settings: Mapping[str, Any] = field(repr=False)  # the group data of the first server

    @property
    def first(self) -> str:
        return self.servers[0]

    @property
    def all(self) -> tuple[str, ...]:
        return self.servers + self.agents


def cluster_hosts() -> ClusterHosts:
    """Return the hosts of the inventory's cluster."""
    servers = preflight.hosts_of_group("k3s_servers")
    agents = [each.name for each in inventory.groups.get("k3s_agents", []) if each.name not in servers]
    first = inventory.get_host(servers[0])
    settings = first.data.dict()
    return ClusterHosts(environment_name(settings, first.groups), tuple(servers), tuple(agents), settings)


def environment_name(settings: Mapping[str, Any], groups: Sequence[str]) -> str:
    """Return the environment: from group data, else the last group, which has the name of the inventory's file."""
    name = str(settings.get("environment") or groups[-1])
    if name in ("k3s_servers", "k3s_agents") or "/" in name or name.startswith(("@", ".")):
        raise preflight.DeployError(
            "the inventory has no environment; run pyinfra with inventories/ENVIRONMENT, or set environment in the "
            "data of the hosts or with --data environment=NAME"
        )
    return name


def this_node(cluster: ClusterHosts) -> Node:
    """Return this host's node."""
    return Node(
        name=node_name(host.name),
        server=host.name in cluster.servers,
        labels=tuple(host.data.get("k3s_labels") or ()),
        taints=tuple(host.data.get("k3s_taints") or ()),
    )


# The memory controller in the unified hierarchy, or in the old one; files that the deploys wrote; addresses.
HARDWARE = (
    "{ grep --quiet --word-regexp memory /sys/fs/cgroup/cgroup.controllers || "
    "awk '$1 == \"memory\" && $4 == 1 {found = 1} END {exit !found}' /proc/cgroups; } && echo memory; "
    f"grep --files-with-matches '{SENTENCE}' /etc/systemd/system/k3s*.env /etc/nftables.conf; "
    "ip -oneline address"
)


def cgroup_faults(name: str, hardware: Sequence[str]) -> Iterator[str]:
    """Yield a fault if the kernel does not limit the memory of containers, as on a Raspberry Pi."""
    if "memory" not in hardware:
        yield (
            f"{name}: the memory cgroup is off, and K3s does not start without it; on a Raspberry Pi append "
            "cgroup_memory=1 cgroup_enable=memory to the line in /boot/firmware/cmdline.txt and reboot"
        )


@cache
def addresses_of(target: Host) -> tuple[str, ...]:
    """Return the addresses from which other hosts of the cluster hear this one: its k3s_address, or all of its own.

    In a dual-stack cluster, flannel sends packets of IPv6 pods from an IPv6 address of the interface.
    """
    given = str(target.data.get("k3s_address") or "")
    if is_ip_address(given) and not uses_ipv6(target.data.get("k3s_host_config") or {}):
        return (given,)
    ok, lines = run_on(target.name, "ip -oneline address show")
    virtual = str(target.data.get("k3s_virtual_ip") or "")  # on one server after the other
    if not ok or not (addresses := tuple(each for each in own_addresses(lines) if each != virtual)):
        raise preflight.DeployError(
            f"{target.name}: reading its addresses failed ({'; '.join(lines)}), and the firewall of the cluster needs "
            "them; set its k3s_address in the inventory"
        )
    return addresses


def host_identities(cluster: ClusterHosts) -> dict[str, list[str]]:
    """Return hostname and machine-id of each host that answers."""
    answers = {name: run_on(name, "hostname; cat /etc/machine-id") for name in cluster.all}
    return {name: lines for name, (ok, lines) in answers.items() if ok and len(lines) == 2}


def node_name(name: str) -> str:
    """Return the name of a host's node."""
    ok, output = run_on(name, "hostname")
    if not ok:
        raise preflight.DeployError(f"{name}: reading the hostname failed ({'; '.join(output)}); check the login")
    return output[0].lower()


def read_nodes(*servers: str) -> dict[str, dict[str, Any]] | None:
    """Return all nodes by name, from the first server that answers; None if none does."""
    for server in servers:
        ok, output = run_kubectl(server, "get", "nodes", "--output=json", seconds=ANSWER_TIMEOUT)
        if ok:
            return {node["metadata"]["name"]: node for node in json.loads("".join(output))["items"]}
    return None


def server_versions(*servers: str) -> list[str]:
    """Return the versions that the servers of the cluster run; none if no server answers."""
    nodes = (read_nodes(*servers) or {}).values()
    return sorted(kubelet_version(node) for node in nodes if CONTROL_PLANE in node["metadata"]["labels"])


def second_cluster_faults(cluster: ClusterHosts) -> Iterator[str]:
    """Yield a fault if the first server would create a second cluster beside one of the other servers."""
    first, *others = cluster.servers
    if others and not _has_state(first) and (members := [name for name in others if _has_state(name)]):
        yield (
            f"k3s_servers: {first} is first and would create a second cluster beside that of {', '.join(members)}; "
            f"put {members[0]} before {first} to let it join"
        )


def _has_state(server: str) -> bool:
    return run_on(server, f"test -e {DATA}/server/db/etcd || test -e {DATA}/server/db/state.db")[0]


def membership_faults(name: str, nodes: Mapping[str, object] | None) -> Iterator[str]:
    """Yield a fault if no server answers, or the cluster does not have this node."""
    if nodes is None:
        yield "no server of the cluster answers; repair one first, with deploys/k3s.py or deploys/k3s_restore.py"
    elif name not in nodes:
        yield f"{name} is not a node of the cluster (it has {', '.join(sorted(nodes))}); run deploys/k3s.py first"


def require_node(name: str, *servers: str) -> dict[str, dict[str, Any]]:
    """Return all nodes; raise StepFailed unless `name` is one of them. Wait a moment for servers that restart."""
    end = time.monotonic() + ANSWER_TIMEOUT
    while (nodes := read_nodes(*servers)) is None and time.monotonic() < end:
        time.sleep(0.5)
    for fault in membership_faults(name, nodes):
        raise StepFailed(fault)
    return nodes or {}


def responsive_server(*servers: str) -> str | None:
    """Return the first server whose API answers, or None."""
    return next(
        (each for each in servers if run_kubectl(each, "get", "--raw=/readyz", seconds=ANSWER_TIMEOUT)[0]), None
    )


def run_kubectl(server: str, *arguments: str, seconds: int, stdin: str = "") -> tuple[bool, list[str]]:
    """Run kubectl on a server; return whether it succeeded, and its output."""
    return run_on(server, _kubectl(arguments, seconds), stdin)


def repeat_kubectl(server: str, *arguments: str, seconds: int, stdin: str = "") -> tuple[bool, list[str]]:
    """Run kubectl on a server, again while etcd is busy; return whether it succeeded, and its output.

    So the command must be one that can be repeated.
    """
    return _repeat(server, _kubectl(arguments, seconds), stdin)


def differs(server: str, what: str, *options: str, manifest: str) -> bool:
    """Return whether the objects of a manifest differ from those in the cluster; raise StepFailed if that is unknown.

    kubectl prints a difference and exits with 1. An object differs, too, if its namespace does not exist, or if a
    webhook can't try it.
    """
    compare = _kubectl(("diff", *options, "--filename=-"), COMPARE_TIMEOUT)
    command = f'found=$({compare}) || {{ [ $? = 1 ] && [ -n "$found" ] && echo {_DIFFERENT}; }}'
    ok, output = _repeat(server, command, manifest)
    if not ok and not any(map(_NOT_COMPARABLE.search, output)):
        raise StepFailed(f"comparing {what} with the cluster failed: {_reason(output, COMPARE_TIMEOUT)}")
    return not ok or _DIFFERENT in output


def _kubectl(arguments: Sequence[str], seconds: int) -> str:
    return f"timeout {seconds} {BINARY} kubectl {shlex.join(arguments)}"


def _repeat(server: str, command: str, stdin: str) -> tuple[bool, list[str]]:
    ok, output = run_on(server, command, stdin)
    end = time.monotonic() + ETCD_PATIENCE
    while not ok and any(map(_ETCD_IS_BUSY.search, output)):
        if time.monotonic() >= end:
            return False, [*output, _ETCD_REMEDY]
        time.sleep(1)
        ok, output = run_on(server, command, stdin)
    return ok, output


def _reason(output: Sequence[str], seconds: int) -> str:
    return "; ".join(line for line in output[-3:] if line) or f"no answer within {seconds} s"


def first_answer(servers: Sequence[str], ask: Callable[[str], T]) -> T:
    """Return the answer of the first server that has one; raise StepFailed with the reasons of all others."""
    reasons = []
    for server in servers:
        try:
            return ask(server)
        except StepFailed as failure:
            reasons.append(f"{server}: {failure}")
    raise StepFailed("\n    ".join(["no server of the cluster has an answer:", *reasons]))


def run_on(name: str, command: str, stdin: str = "") -> tuple[bool, list[str]]:
    """Run a command on a host, even if --limit excludes it; return whether it succeeded, and its output."""
    target = inventory.get_host(name)
    try:
        if not target.connected:
            target.connect(show_errors=False, raise_exceptions=True)
    except ConnectError as error:
        return False, [f"{name} can't be reached: {error}"]
    return run_silently(target, command, stdin)


def run_or_fail(name: str, command: str, failure: str) -> None:
    """Run a command on a host; if it fails, raise StepFailed with the message `failure` and the output."""
    ok, output = run_on(name, command)
    if not ok:
        raise StepFailed("\n    ".join([f"{failure}:", *output]))


def kubectl_or_fail(server: str, *arguments: str, failure: str, seconds: int = ANSWER_TIMEOUT) -> list[str]:
    """Run kubectl as `repeat_kubectl` does and return its output.

    If it fails, raise StepFailed with the message `failure` and the reason.
    """
    ok, output = repeat_kubectl(server, *arguments, seconds=seconds)
    if not ok:
        raise StepFailed(f"{failure}: {_reason(output, seconds)}")
    return output


def log_failure(host: Host, act: Callable[[], object]) -> bool:
    """Run `act` and return True; if a step fails, log why and return False, as pyinfra's FunctionCommand expects."""
    try:
        act()
    except StepFailed as failure:
        log_message(host, str(failure))
        return False
    return True
