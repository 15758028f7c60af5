"""A node leaves its cluster, and nothing of K3s is left on its host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import draining, files
from deploys.lib.k3s.artefacts import STAGED
from deploys.lib.k3s.cluster import ETCD, Hosts, NotDone
from deploys.lib.k3s.files import BINARY, DATA, MODULES_FILE, SYSCTL_FILE, UNITS, Node
from deploys.lib.k3s.versions import has_majority
from deploys.lib.operations import STAMPS, Lines, Steps

UNIT_FILES = [f"/etc/systemd/system/{unit}{more}" for unit in UNITS for more in ("", ".env")]
FILES = [*UNIT_FILES, BINARY, STAGED, f"{STAGED}.part", SYSCTL_FILE, MODULES_FILE]
ALONG = ["/var/lib/kubelet", "/var/lib/cni", "/run/k3s", "/run/flannel"]  # others may have these, too
FOLDERS = ["/etc/rancher/node", "/etc/rancher/k3s", DATA]  # the last to go, so that a run that dies is taken up again
LINKS = "find /usr/local/bin -lname k3s"
SHIM = f"^{DATA}/data/[^/]*/bin/containerd-shim"
# The folder itself may be a disk of its own, and stays then, empty. What is mounted inside is never gone into.
EMPTIED = "find {0} -xdev -mindepth 1 -delete && {{ mountpoint --quiet {0} || rmdir {0}; }}"


def named(said: str, cluster: Hosts) -> tuple[str, ...]:
    """The hosts that are to go: those with these names, or all, if it is the environment's name."""
    return cluster.all if said == cluster.environment else tuple(dict.fromkeys(filter(None, said.split(","))))


def faults(said: str, cluster: Hosts) -> Iterator[str]:
    """Why what was said can't be done, whatever the cluster is like."""
    leaving = named(said, cluster)
    if not leaving:
        yield (
            f"nothing was named that is to go; name hosts, as in --data k3s_reset={cluster.all[-1]}, or the whole "
            f"cluster with all that is in it: --data k3s_reset={cluster.environment}"
        )
    for name in leaving:
        if name not in cluster.all:
            yield f"k3s_reset: {name} is no host of this cluster; there are {', '.join(cluster.all)}"
    staying = [name for name in cluster.all if name not in leaving]
    if leaving and staying and not set(cluster.servers) - set(leaving):
        yield (
            f"k3s_reset: without {', '.join(leaving)} there is no server, and {', '.join(staying)} can't be without "
            f"one; keep one, or reset the whole cluster: --data k3s_reset={cluster.environment}"
        )
    if leaving and not staying and said != cluster.environment:
        yield f"k3s_reset: that is the whole cluster; say so: --data k3s_reset={cluster.environment}"


def faults_of_majority(nodes: Mapping[str, Mapping[str, Any]], leaving: Sequence[str]) -> Iterator[str]:
    """Why nodes can't leave: etcd would have no majority without them, and nothing could be changed any more."""
    members = {name: node for name, node in nodes.items() if ETCD in node["metadata"]["labels"]}
    staying = {name: files.is_ready(node) for name, node in members.items() if name not in leaving}
    if set(staying) != set(members) and not has_majority(len(staying), sum(staying.values())):
        down = ", ".join(name for name, ready in staying.items() if not ready) or "nobody"
        yield (
            f"without {', '.join(name for name in members if name in leaving)} etcd has no majority: of {len(staying)} "
            f"servers that stay, {down} is not ready; make it ready, or let that one go first"
        )


@operation()
def node_is_forgotten(who: str, node: Node, servers: Sequence[str], drain: int) -> Steps:
    """One that is named is emptied, deleted and stopped; `servers` are those that stay."""
    if host.name == who and (_node(node, servers) or host.get_fact(Lines, _runs(node))):
        yield FunctionCommand(_forget, (node, servers, drain), {})


def _runs(node: Node) -> str:
    return f"systemctl is-active {node.unit} | grep --invert-match inactive"


def _node(node: Node, servers: Sequence[str]) -> dict[str, Any] | None:
    return (k3s_cluster.nodes(*servers) or {}).get(node.name)


def _forget(state: State, host: Host, node: Node, servers: Sequence[str], drain: int) -> bool:
    return k3s_cluster.logged(host, lambda: _forgotten(host, node, servers, drain))


def _forgotten(host: Host, node: Node, servers: Sequence[str], drain: int) -> None:
    server, nodes = k3s_cluster.speaker(*servers), k3s_cluster.nodes(*servers)
    if not server or nodes is None:
        raise NotDone(f"none of {', '.join(servers)} answers, so {node.name} can't be deleted; nothing was changed")
    for fault in faults_of_majority(nodes, [node.name]):
        raise NotDone(fault)
    if drain and node.name in nodes and files.is_ready(nodes[node.name]):
        try:
            draining.drain(server, node.name, nodes[node.name], drain)
        except NotDone as fault:
            raise NotDone(
                f"{fault}\nit is left cordoned; put that right and run this again, or let its pods die with it: "
                "--data k3s_drain=0"
            ) from None
    # Deleted while it runs: its own vote may be needed for that. Then stopped, before it can join anew.
    for stop in (f"systemctl disable --quiet --now {node.unit}", "true"):
        words = ("delete", "node", node.name, "--ignore-not-found")
        k3s_cluster.must_kubectl(server, *words, otherwise=f"node {node.name} could not be deleted", seconds=60)
        k3s_cluster.must(host.name, stop, f"node {node.name} is deleted, and K3s could not be stopped there")


@operation()
def k3s_is_stopped(who: Sequence[str], node: Node) -> Steps:
    if host.name in who and host.get_fact(Lines, _runs(node)):
        yield f"systemctl disable --quiet --now {node.unit}"


@operation()
def k3s_is_gone() -> Steps:
    """Stop what runs, unmount what is mounted, remove what lies there."""
    if not host.get_fact(Lines, f"ls --directory {' '.join([*FILES, *FOLDERS])} || true; {LINKS}"):
        host.noop("there is nothing of K3s")
        return
    for unit in UNITS:
        yield f"systemctl disable --quiet --now {unit} 2>/dev/null || ! systemctl is-active --quiet {unit}"
    yield from clean_up()
    yield "systemctl daemon-reload; systemctl reset-failed 'k3s*' 2>/dev/null || true"


def clean_up() -> Iterator[str]:
    """What K3s's own killall and uninstall do: pods go on when K3s is stopped, and hold mounts and networks."""
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
    yield (
        "for rules in iptables ip6tables; do if $rules-save 2>/dev/null | grep --quiet 'KUBE-\\|CNI-\\|flannel'; then "
        "$rules-save | grep --invert-match --ignore-case 'KUBE-\\|CNI-\\|flannel' | $rules-restore; fi; done"
    )
    yield f"{LINKS} -delete; rm --force {' '.join(FILES)} {STAMPS}/k3s*"
    for folder in (*ALONG, *FOLDERS):
        yield f"test ! -e {folder} || {{ {EMPTIED.format(folder)}; }}"
    yield "rmdir --ignore-fail-on-non-empty /etc/rancher /var/lib/rancher 2>/dev/null || true"
