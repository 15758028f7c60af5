"""What the files of a K3s cluster say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from deploys.lib import passwords
from deploys.lib.k3s.versions import release

BINARY = "/usr/local/bin/k3s"
DATA = "/var/lib/rancher/k3s"
CONFIG = "/etc/rancher/k3s/config.yaml"
REGISTRIES = "/etc/rancher/k3s/registries.yaml"
MANIFESTS = f"{DATA}/server/manifests/groundcrew-namespaces.yaml"
TOKEN = f"{DATA}/server/token"
UNITS = ("k3s.service", "k3s-agent.service")
SYSCTL_FILE, MODULES_FILE = "/etc/sysctl.d/90-k3s.conf", "/etc/modules-load.d/k3s.conf"
PORT = 6443
S3 = ("endpoint", "bucket", "folder", "region", "insecure")
ENDINGS = ("tar.zst", "tar.gz", "tar")  # of the images, the smallest first
HEAD = "# Written by groundcrew; changes made here are overwritten.\n"
SYSCTL = f"{HEAD}net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"
MODULES = f"{HEAD}br_netfilter\noverlay\n"


@dataclass(frozen=True)
class Node:
    """A host's part in the cluster."""

    name: str
    server: bool
    labels: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        return UNITS[0] if self.server else UNITS[1]


@dataclass(frozen=True)
class Cluster:
    """What all nodes must agree on."""

    version: str
    addresses: tuple[str, ...]  # of the servers; the first founds the cluster
    token: str = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict)  # of servers, beside ours
    snapshots: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        return f"https://{self.addresses[0]}:{PORT}"


def config(cluster: Cluster, node: Node, *, founds: bool) -> dict[str, Any]:
    """config.yaml of a node."""
    told: dict[str, Any] = {"token": cluster.token, "node-name": node.name}
    if node.labels:
        told["node-label"] = list(node.labels)
    if node.taints:
        told["node-taint"] = list(node.taints)
    told |= {"cluster-init": True} if founds else {"server": cluster.url}
    if node.server:
        names = [*cluster.addresses, *(cluster.config.get("tls-san") or [])]
        own = {"write-kubeconfig-mode": "0600", **cluster.config, "tls-san": list(dict.fromkeys(names))}
        told |= {**own, **cluster.snapshots}
    return told


def as_yaml(told: Mapping[str, Any]) -> str:
    """Each value on the line of its key."""
    return HEAD + "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(told.items()))


def unit(kind: str, name: str) -> str:
    """The unit file that K3s's own installer writes."""
    return f"""\
{HEAD}[Unit]
Description=Lightweight Kubernetes
Documentation=https://k3s.io
Wants=network-online.target
After=network-online.target
[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/sysconfig/%N
EnvironmentFile=-/etc/systemd/system/{name}.env
KillMode=process
Delegate=yes
User=root
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStartPre=-/sbin/modprobe br_netfilter
ExecStartPre=-/sbin/modprobe overlay
ExecStart={BINARY} {kind}
[Install]
WantedBy=multi-user.target
"""


def snapshots(given: Mapping[str, Any], key: str, secret: str) -> dict[str, Any]:
    """The keys of config.yaml for snapshots of etcd, to S3 if there is a bucket."""
    told: dict[str, Any] = {}
    if given.get("schedule"):
        told["etcd-snapshot-schedule-cron"] = given["schedule"]
    if given.get("keep"):
        told["etcd-snapshot-retention"] = given["keep"]
    if s3 := given.get("s3"):
        told |= {"etcd-s3": True, "etcd-s3-access-key": key, "etcd-s3-secret-key": secret}
        told |= {f"etcd-s3-{name}": s3[name] for name in S3 if name in s3}
    return told


def namespaces(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A namespace for each developer: what it may take, what a pod takes unless it says so, who may change it."""
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name} | place, **rest}
        for one in given
        for version, kind, name, place, rest in _of_namespace(one)
    ]


def _of_namespace(one: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    name, cpu, memory = one["name"], str(one.get("cpu", "4")), str(one.get("memory", "16Gi"))
    inside = {"namespace": name}
    yield "v1", "Namespace", name, {"labels": {"app.kubernetes.io/managed-by": "groundcrew"}}, {}
    hard = {"requests.cpu": cpu, "limits.cpu": cpu, "requests.memory": memory, "limits.memory": memory, "pods": "100"}
    yield "v1", "ResourceQuota", "developer", inside, {"spec": {"hard": hard}}
    usual = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
    }
    yield "v1", "LimitRange", "developer", inside, {"spec": {"limits": [usual]}}
    api = "rbac.authorization.k8s.io"
    bound = {
        "subjects": [{"kind": "User", "name": each, "apiGroup": api} for each in one.get("users", [name])],
        "roleRef": {"kind": "ClusterRole", "name": "edit", "apiGroup": api},
    }
    yield f"{api}/v1", "RoleBinding", "developer", inside, bound


def manifest(given: Sequence[Mapping[str, Any]]) -> str:
    documents: str = yaml.safe_dump_all(namespaces(given), sort_keys=False)
    return HEAD + documents


def kubeconfig(text: str, name: str, url: str) -> dict[str, Any]:
    """K3s's own kubeconfig, with an address that can be reached from here and a name that says which cluster it is."""
    told: dict[str, Any] = yaml.safe_load(text)
    cluster, user = dict(told["clusters"][0]["cluster"]), told["users"][0]["user"]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {**cluster, "server": url}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def merged(there: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """A kubeconfig with ours in it; which context is current stays as it is."""
    told = {**ours, **there}
    for kind in ("clusters", "users", "contexts"):
        names = {one["name"] for one in ours[kind]}
        told[kind] = [one for one in there.get(kind) or [] if one["name"] not in names] + list(ours[kind])
    return told


def taint_changes(wanted: Sequence[str], node: Mapping[str, Any], ours: Sequence[str]) -> list[str]:
    """Arguments of `kubectl taint`: what is missing, and with a minus what we gave once and want no more."""
    there = {
        f"{taint['key']}{'=' + taint['value'] if taint.get('value') else ''}:{taint['effect']}"
        for taint in node.get("spec", {}).get("taints") or []
    }
    replaced = {_without_value(taint) for taint in wanted}
    gone = [taint for taint in sorted((set(ours) & there) - set(wanted)) if _without_value(taint) not in replaced]
    return [*sorted(set(wanted) - there), *(f"{taint}-" for taint in gone)]


def _without_value(taint: str) -> tuple[str, str]:
    """By which Kubernetes tells taints apart."""
    key, _, effect = taint.rpartition(":")
    return key.partition("=")[0], effect


def label_changes(wanted: Sequence[str], node: Mapping[str, Any], ours: Sequence[str]) -> list[str]:
    """Arguments of `kubectl label`: what is missing or another, and with a minus what we gave once and want no more."""
    there = node.get("metadata", {}).get("labels") or {}
    named, once = (dict(_key_and_value(label) for label in labels) for labels in (wanted, ours))
    missing = [f"{key}={value}" for key, value in named.items() if there.get(key) != value]
    return [*missing, *(f"{key}-" for key in sorted((once.keys() & there.keys()) - named.keys()))]


def _key_and_value(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key, value


def is_up(node: Mapping[str, Any] | None, version: str) -> bool:
    """Ready, with the version that is wanted."""
    return bool(node and is_ready(node) and version_of(node) == version)


def is_ready(node: Mapping[str, Any]) -> bool:
    return {each["type"]: each["status"] for each in node["status"]["conditions"]}.get("Ready") == "True"


def version_of(node: Mapping[str, Any]) -> str:
    """What runs there; the binary on its disk may be another."""
    return str(node["status"]["nodeInfo"]["kubeletVersion"])


def faults(given: Mapping[str, Any], servers: int) -> Iterator[str]:
    version = given.get("k3s_version") or ""
    if not release(version):
        yield f'k3s_version: {version!r}; write a release, as in "v1.33.5+k3s1"'
    if servers % 2 == 0:
        yield f"k3s_servers: {servers} servers can't lose one more than {servers - 1} can; have 1, 3 or 5"
    if given.get("k3s_token"):
        yield from passwords.faults("k3s_token", given["k3s_token"])
    for one in given.get("k3s_namespaces") or []:
        if not one.get("name"):
            yield f"k3s_namespaces: {dict(one)}: has no name"
        if others := sorted(set(one) - {"name", "cpu", "memory", "users"}):
            yield f"k3s_namespaces: {', '.join(others)}: no such key; there are cpu, memory, name, users"
    if others := sorted(set(given.get("k3s_snapshots") or {}) - {"schedule", "keep", "s3"}):
        yield f"k3s_snapshots: {', '.join(others)}: no such key; there are keep, s3, schedule"
    if others := sorted(set((given.get("k3s_snapshots") or {}).get("s3") or S3) - {*S3, "access_key", "secret_key"}):
        yield f"k3s_snapshots: s3: {', '.join(others)}: no such key; there are {', '.join(S3)}, access_key, secret_key"
    if s3 := (given.get("k3s_snapshots") or {}).get("s3"):
        for name in ("access_key", "secret_key"):
            yield from passwords.faults(f"k3s_snapshots: s3: {name}", s3.get(name))
    if (given.get("k3s_airgap") or ENDINGS[0]) not in (True, *ENDINGS):
        yield f"k3s_airgap: {given['k3s_airgap']!r}; write True, which is {ENDINGS[0]}, or one of {', '.join(ENDINGS)}"


def faults_of_token(server: str, there: str, token: str, named: str) -> Iterator[str]:
    """A cluster does not start with another token than the one that it was founded with."""
    if there and _short(there) != _short(token):
        said = f"is not the one in {named}" if named else "is not known to this machine; write it into k3s_token"
        yield f"{server}: the token of its cluster {said}; it is in {TOKEN} there, after the last colon"


def _short(token: str) -> str:
    return token.strip().rpartition(":")[2]


def faults_of_namespaces(manifest: str, given: Sequence[Mapping[str, Any]], dropped: str) -> Iterator[str]:
    """K3s deletes what leaves its manifests: a namespace with everything in it, and so only if that is said."""
    there = {each["metadata"]["name"] for each in yaml.safe_load_all(manifest) if each and each["kind"] == "Namespace"}
    gone = there - {one["name"] for one in given}
    if unsaid := sorted(gone - set(dropped.split(","))):
        yield (
            f"k3s_namespaces: {', '.join(unsaid)}: no longer named, and so deleted with everything in it; "
            f"name it again, or say so: --data k3s_drop_namespaces={','.join(sorted(gone))}"
        )


def faults_of_hosts(told: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Nodes are told apart by what a copy of a machine has in common with it."""
    for at, what in enumerate(("hostname", "machine-id")):
        named: dict[str, list[str]] = {}
        for name, lines in told.items():
            named.setdefault(lines[at], []).append(name)
        for value, names in named.items():
            if len(names) > 1:
                yield f"{', '.join(names)}: have the same {what}, {value}; each node needs its own"
