"""The configuration files of a K3s cluster, as values, and the faults in its group data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from deploys.lib import passwords
from deploys.lib.group_data import unknown_keys
from deploys.lib.header import HEADER
from deploys.lib.k3s.versions import parse_release

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
S3_KEYS = ("access_key", "secret_key")
IMAGE_SUFFIXES = ("tar.zst", "tar.gz", "tar")  # of the archive with the images, smallest first
SYSCTL = f"{HEADER}net.ipv4.ip_forward = 1\nnet.ipv6.conf.all.forwarding = 1\n"
MODULES = f"{HEADER}br_netfilter\noverlay\n"


@dataclass(frozen=True)
class Node:
    """A host as a node of the cluster."""

    name: str
    server: bool
    labels: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()

    @property
    def unit(self) -> str:
        return UNITS[0] if self.server else UNITS[1]


@dataclass(frozen=True)
class Cluster:
    """The settings that all nodes share."""

    version: str
    addresses: tuple[str, ...]  # of the servers; the first server founds the cluster
    token: str = field(repr=False)
    config: Mapping[str, Any] = field(default_factory=dict)  # of servers, in addition to the defaults
    snapshots: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def url(self) -> str:
        return f"https://{self.addresses[0]}:{PORT}"


def node_config(cluster: Cluster, node: Node, *, founds: bool) -> dict[str, Any]:
    """Return config.yaml of a node."""
    values: dict[str, Any] = {"token": cluster.token, "node-name": node.name}
    if node.labels:
        values["node-label"] = list(node.labels)
    if node.taints:
        values["node-taint"] = list(node.taints)
    values |= {"cluster-init": True} if founds else {"server": cluster.url}
    if node.server:
        names = [*cluster.addresses, *(cluster.config.get("tls-san") or [])]
        defaults_and_own = {"write-kubeconfig-mode": "0600", **cluster.config, "tls-san": list(dict.fromkeys(names))}
        values |= {**defaults_and_own, **cluster.snapshots}
    return values


def config_yaml(values: Mapping[str, Any]) -> str:
    """Return YAML with one line per key."""
    return HEADER + "".join(f"{key}: {json.dumps(value)}\n" for key, value in sorted(values.items()))


def unit_file(kind: str, name: str) -> str:
    """Return the unit file, as K3s's own installer writes it."""
    return f"""\
{HEADER}[Unit]
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


def snapshot_settings(given: Mapping[str, Any], key: str, secret: str) -> dict[str, Any]:
    """Return the keys of config.yaml for etcd snapshots, with S3 if group data names a bucket."""
    values: dict[str, Any] = {}
    if given.get("schedule"):
        values["etcd-snapshot-schedule-cron"] = given["schedule"]
    if given.get("keep"):
        values["etcd-snapshot-retention"] = given["keep"]
    if s3 := given.get("s3"):
        values |= {"etcd-s3": True, "etcd-s3-access-key": key, "etcd-s3-secret-key": secret}
        values |= {f"etcd-s3-{name}": s3[name] for name in S3 if name in s3}
    return values


def namespace_objects(given: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects of each namespace: quota, default limits of containers, and a role for its users."""
    return [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name} | metadata, **rest}
        for namespace in given
        for version, kind, name, metadata, rest in _objects_of(namespace)
    ]


def _objects_of(given: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    name, cpu, memory = given["name"], str(given.get("cpu", "4")), str(given.get("memory", "16Gi"))
    namespaced = {"namespace": name}
    yield "v1", "Namespace", name, {"labels": {"app.kubernetes.io/managed-by": "groundcrew"}}, {}
    hard = {"requests.cpu": cpu, "limits.cpu": cpu, "requests.memory": memory, "limits.memory": memory, "pods": "100"}
    yield "v1", "ResourceQuota", "developer", namespaced, {"spec": {"hard": hard}}
    defaults = {
        "type": "Container",
        "default": {"cpu": "500m", "memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "128Mi"},
    }
    yield "v1", "LimitRange", "developer", namespaced, {"spec": {"limits": [defaults]}}
    api = "rbac.authorization.k8s.io"
    binding = {
        "subjects": [{"kind": "User", "name": each, "apiGroup": api} for each in given.get("users", [name])],
        "roleRef": {"kind": "ClusterRole", "name": "edit", "apiGroup": api},
    }
    yield f"{api}/v1", "RoleBinding", "developer", namespaced, binding


def namespaces_manifest(given: Sequence[Mapping[str, Any]]) -> str:
    """Return the manifest of all namespaces."""
    documents: str = yaml.safe_dump_all(namespace_objects(given), sort_keys=False)
    return HEADER + documents


def named_kubeconfig(text: str, name: str, url: str) -> dict[str, Any]:
    """Return K3s's kubeconfig with the server's address and the cluster's name instead of 127.0.0.1 and "default"."""
    fetched: dict[str, Any] = yaml.safe_load(text)
    cluster, user = dict(fetched["clusters"][0]["cluster"]), fetched["users"][0]["user"]
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {**cluster, "server": url}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def merge_kubeconfig(current: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return a kubeconfig with our cluster added or replaced; its current context stays."""
    result = {**ours, **current}
    for kind in ("clusters", "users", "contexts"):
        names = {entry["name"] for entry in ours[kind]}
        result[kind] = [entry for entry in current.get(kind) or [] if entry["name"] not in names] + list(ours[kind])
    return result


def taint_changes(desired: Sequence[str], node: Mapping[str, Any], ours: Sequence[str]) -> list[str]:
    """Return arguments of `kubectl taint`: taints to set, and with a minus those of earlier runs to remove."""
    current = {
        f"{taint['key']}{'=' + taint['value'] if taint.get('value') else ''}:{taint['effect']}"
        for taint in node.get("spec", {}).get("taints") or []
    }
    replaced = {_without_value(taint) for taint in desired}
    removed = [taint for taint in sorted((set(ours) & current) - set(desired)) if _without_value(taint) not in replaced]
    return [*sorted(set(desired) - current), *(f"{taint}-" for taint in removed)]


def _without_value(taint: str) -> tuple[str, str]:
    """Return key and effect, which identify a taint in Kubernetes."""
    key, _, effect = taint.rpartition(":")
    return key.partition("=")[0], effect


def label_changes(desired: Sequence[str], node: Mapping[str, Any], ours: Sequence[str]) -> list[str]:
    """Return arguments of `kubectl label`: labels to set, and with a minus those of earlier runs to remove."""
    current = node.get("metadata", {}).get("labels") or {}
    labels_now, labels_before = (dict(_key_and_value(label) for label in labels) for labels in (desired, ours))
    missing = [f"{key}={value}" for key, value in labels_now.items() if current.get(key) != value]
    return [*missing, *(f"{key}-" for key in sorted((labels_before.keys() & current.keys()) - labels_now.keys()))]


def _key_and_value(label: str) -> tuple[str, str]:
    key, _, value = label.partition("=")
    return key, value


def is_ready_at(node: Mapping[str, Any] | None, version: str) -> bool:
    """Return whether a node is ready and runs this version."""
    return bool(node and is_ready(node) and kubelet_version(node) == version)


def is_ready(node: Mapping[str, Any]) -> bool:
    """Return whether a node has the condition Ready."""
    return {each["type"]: each["status"] for each in node["status"]["conditions"]}.get("Ready") == "True"


def kubelet_version(node: Mapping[str, Any]) -> str:
    """Return the version that runs on a node; the binary on its disk can be newer."""
    return str(node["status"]["nodeInfo"]["kubeletVersion"])


def faults(given: Mapping[str, Any], servers: int) -> Iterator[str]:
    """Yield each fault in the group data."""
    version = given.get("k3s_version") or ""
    if not parse_release(version):
        yield f'k3s_version: {version!r} is not a release; use one such as "v1.33.5+k3s1"'
    if servers % 2 == 0:
        yield f"k3s_servers: {servers} servers tolerate no more failures than {servers - 1}; use 1, 3 or 5"
    if given.get("k3s_token"):
        yield from passwords.faults("k3s_token", given["k3s_token"])
    for namespace in given.get("k3s_namespaces") or []:
        if not namespace.get("name"):
            yield f"k3s_namespaces: {dict(namespace)} has no name; add one"
        yield from unknown_keys("k3s_namespaces", namespace, ("name", "cpu", "memory", "users"))
    yield from unknown_keys("k3s_snapshots", given.get("k3s_snapshots") or {}, ("schedule", "keep", "s3"))
    if s3 := (given.get("k3s_snapshots") or {}).get("s3"):
        yield from unknown_keys("k3s_snapshots: s3", s3, (*S3, *S3_KEYS))
        for name in S3_KEYS:
            yield from passwords.faults(f"k3s_snapshots: s3: {name}", s3.get(name))
    if (given.get("k3s_airgap") or IMAGE_SUFFIXES[0]) not in (True, *IMAGE_SUFFIXES):
        allowed = ", ".join(IMAGE_SUFFIXES)
        yield f"k3s_airgap: {given['k3s_airgap']!r} is invalid; use True for {IMAGE_SUFFIXES[0]}, or one of {allowed}"


def token_faults(server: str, current: str, token: str, source: str) -> Iterator[str]:
    """Yield a fault if `token` is not the one that the server's cluster was initialised with."""
    if current and _short(current) != _short(token):
        fact = f"differs from the one in {source}" if source else "is not on your machine"
        yield (
            f"{server}: the token of its cluster {fact}; set k3s_token to the part after the last colon "
            f"of {TOKEN} on that server"
        )


def _short(token: str) -> str:
    return token.strip().rpartition(":")[2]


def namespace_faults(current: str, given: Sequence[Mapping[str, Any]], dropped: str) -> Iterator[str]:
    """Yield a fault if K3s would delete namespaces that are no longer listed, unless `dropped` confirms it."""
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(current) if each and each["kind"] == "Namespace"}
    removed = names - {namespace["name"] for namespace in given}
    if unconfirmed := sorted(removed - set(dropped.split(","))):
        yield (
            f"k3s_namespaces: {', '.join(unconfirmed)} is no longer listed, so K3s would delete it with all in it; "
            f"list it again, or confirm with --data k3s_drop_namespaces={','.join(sorted(removed))}"
        )


def identity_faults(identities: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a fault for each hostname or machine-id that two hosts share, as copies of one machine do."""
    for index, kind in enumerate(("hostname", "machine-id")):
        hosts_by_value: dict[str, list[str]] = {}
        for name, lines in identities.items():
            hosts_by_value.setdefault(lines[index], []).append(name)
        for value, names in hosts_by_value.items():
            if len(names) > 1:
                yield f"{', '.join(names)} have the same {kind}, {value}; give each its own"
