"""Operations that remove a node from its cluster, and K3s from its host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import draining, files
from deploys.lib.k3s.artefacts import STAGED
from deploys.lib.k3s.cluster import ETCD, ClusterHosts, StepFailed
from deploys.lib.k3s.draining import Drain
from deploys.lib.k3s.files import BINARY, DATA, FIREWALL_UNIT, MODULES_FILE, SYSCTL_FILE, UNITS, Node
from deploys.lib.k3s.versions import has_majority
from deploys.lib.k3s.virtual_ip import release_command
from deploys.lib.operations import STAMP_FOLDER, CommandLines, Steps

UNIT_FILES = [f"/etc/systemd/system/{unit}{more}" for unit in UNITS for more in ("", ".env")]
UNIT_FILES.append(f"/etc/systemd/system/{FIREWALL_UNIT}")
FILES = [*UNIT_FILES, BINARY, STAGED, f"{STAGED}.part", SYSCTL_FILE, MODULES_FILE]
# Other programs can use these too.
SHARED_FOLDERS = ["/var/lib/kubelet", "/var/lib/cni", "/run/k3s", "/run/flannel"]
# Removed last: while these exist, the next run continues an interrupted one.
FOLDERS = ["/etc/rancher/node", "/etc/rancher/k3s", DATA]
LINKS = "find /usr/local/bin -lname k3s"
SHIM = f"^{DATA}/data/[^/]*/bin/containerd-shim"
# A directory that is a mount point stays, empty. Other file systems mounted inside it are never entered.
EMPTY_FOLDER = "find {0} -xdev -mindepth 1 -delete && {{ mountpoint --quiet {0} || rmdir {0}; }}"


def hosts_to_reset(value: str, cluster: ClusterHosts) -> tuple[str, ...]:
    """Return the hosts in the value of k3s_reset; all of them if it is the environment's name."""
    return cluster.all if value == cluster.environment else tuple(dict.fromkeys(filter(None, value.split(","))))


def faults(value: str, cluster: ClusterHosts) -> Iterator[str]:
    """Yield each fault in the value of k3s_reset."""
    leaving = hosts_to_reset(value, cluster)
    if not leaving:
        yield (
            f"k3s_reset is missing; name the hosts to reset, such as --data k3s_reset={cluster.all[-1]}, or the whole "
            f"cluster with all its data: --data k3s_reset={cluster.environment}"
        )
    for name in leaving:
        if name not in cluster.all:
            yield f"k3s_reset: {name} is not a host of this cluster; its hosts are {', '.join(cluster.all)}"
    staying = [name for name in cluster.all if name not in leaving]
    if leaving and staying and not set(cluster.servers) - set(leaving):
        yield (
            f"k3s_reset: without {', '.join(leaving)} no server is left for {', '.join(staying)}; "
            f"keep one server, or reset the whole cluster: --data k3s_reset={cluster.environment}"
        )
    if leaving and not staying and value != cluster.environment:
        yield f"k3s_reset: this is the whole cluster; confirm with --data k3s_reset={cluster.environment}"


def majority_faults(nodes: Mapping[str, Mapping[str, Any]], leaving: Sequence[str]) -> Iterator[str]:
    """Yield a fault if etcd would lose its quorum without these nodes."""
    members = {name: node for name, node in nodes.items() if ETCD in node["metadata"]["labels"]}
    staying = {name: files.is_ready(node) for name, node in members.items() if name not in leaving}
    if set(staying) != set(members) and not has_majority(len(staying), sum(staying.values())):
        without = ", ".join(name for name in members if name in leaving)
        down = ", ".join(name for name, ready in staying.items() if not ready)
        if down:
            yield (
                f"etcd would lose its quorum without {without}: of the {len(staying)} servers that stay, {down} is not "
                "ready; repair it, or reset it first"
            )
        else:
            yield f"no server other than {without} has etcd; add one, or reset the whole cluster"


@operation()
def remove_node(target: str, node: Node, servers: Sequence[str], drain: Drain) -> Steps:
    """Drain, delete and stop the node of the host `target`; `servers` are those that stay."""
    if host.name == target and (_find_node(node, servers) or host.get_fact(CommandLines, _is_active(node))):
        yield FunctionCommand(_remove, (node, servers, drain), {})


def _is_active(node: Node) -> str:
    return f"systemctl is-active {node.unit} | grep --invert-match inactive"


def _find_node(node: Node, servers: Sequence[str]) -> dict[str, Any] | None:
    return (k3s_cluster.read_nodes(*servers) or {}).get(node.name)


def _remove(state: State, host: Host, node: Node, servers: Sequence[str], drain: Drain) -> bool:
    return k3s_cluster.log_failure(host, lambda: _removal_steps(host, node, servers, drain))


def _removal_steps(host: Host, node: Node, servers: Sequence[str], drain: Drain) -> None:
    server, nodes = k3s_cluster.responsive_server(*servers), k3s_cluster.read_nodes(*servers)
    if not server or nodes is None:
        raise StepFailed(
            f"none of {', '.join(servers)} answers, so node {node.name} can't be deleted and nothing was changed; "
            "repair a server and run this again"
        )
    for fault in majority_faults(nodes, [node.name]):
        raise StepFailed(fault)
    if node.name in nodes and files.is_ready(nodes[node.name]):
        try:
            draining.drain(server, node.name, nodes[node.name], drain)
        except StepFailed as failure:
            raise StepFailed(f"{failure}\nthe node stays cordoned; fix the problem and run this again") from None
    # Delete the node while it runs, since etcd can need its vote. Stop it, and delete it again in case it rejoined.
    for stop in (f"systemctl disable --quiet --now {node.unit}", "true"):
        arguments = ("delete", "node", node.name, "--ignore-not-found")
        k3s_cluster.kubectl_or_fail(server, *arguments, failure=f"deleting node {node.name} failed", seconds=60)
        k3s_cluster.run_or_fail(host.name, stop, f"node {node.name} is deleted, but stopping K3s on its host failed")


@operation()
def stop_k3s(hosts: Sequence[str], node: Node) -> Steps:
    """Stop and disable K3s on these hosts."""
    if host.name in hosts and host.get_fact(CommandLines, _is_active(node)):
        yield f"systemctl disable --quiet --now {node.unit}"


@operation()
def uninstall_k3s(virtual_ip: str) -> Steps:
    """Stop K3s, end its pods, and remove its files, mounts, networks and virtual address."""
    if not host.get_fact(CommandLines, f"ls --directory {' '.join([*FILES, *FOLDERS])} || true; {LINKS}"):
        host.noop("K3s is not installed")
        return
    for unit in (*UNITS, FIREWALL_UNIT):
        yield f"systemctl disable --quiet --now {unit} 2>/dev/null || ! systemctl is-active --quiet {unit}"
    yield from cleanup_commands()
    if virtual_ip:
        yield release_command(virtual_ip)
    yield "systemctl daemon-reload; systemctl reset-failed 'k3s*' 2>/dev/null || true"


def cleanup_commands() -> Iterator[str]:
    """Yield commands like those of K3s's uninstall script: pods outlive K3s, and hold mounts and networks."""
    yield f"pkill --signal KILL --full '{SHIM}' || true"
    yield "for pods in /sys/fs/cgroup/kubepods*/cgroup.kill; do test ! -e $pods || echo 1 > $pods; done"
    yield (
        "awk '$2 ~ \"^(/run/k3s|/var/lib/kubelet|/run/netns/cni-)\" {print $2}' /proc/self/mounts | sort --reverse "
        "| xargs --no-run-if-empty umount"
    )
    yield "ip netns list | awk '/^cni-/ {print $1}' | xargs --no-run-if-empty --max-args=1 ip netns delete"
    yield (
        "for link in $(ip -oneline link show master cni0 2>/dev/null | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/') "
        "cni0 flannel.1 flannel-v6.1 flannel-wg flannel-wg-v6 kube-ipvs0; do "
        "test ! -e /sys/class/net/$link || ip link delete $link; done"
    )
    # K3s brings its own iptables, since Debian may have none.
    yield (
        f"for bin in {DATA}/data/*/bin; do PATH=$PATH:$bin:$bin/aux; done; ours='KUBE-\\|CNI-\\|flannel'; "
        "for rules in iptables ip6tables; do if $rules-save 2>/dev/null | grep --quiet --ignore-case $ours; then "
        "$rules-save | grep --invert-match --ignore-case $ours | $rules-restore; fi; done"
    )
    yield f"{LINKS} -delete; rm --force {' '.join(FILES)} {STAMP_FOLDER}/k3s*"
    for folder in (*SHARED_FOLDERS, *FOLDERS):
        yield f"test ! -e {folder} || {{ {EMPTY_FOLDER.format(folder)}; }}"
    yield "rmdir --ignore-fail-on-non-empty /etc/rancher /var/lib/rancher 2>/dev/null || true"
