"""The configuration files of a K3s cluster, as values, and the faults in its group data."""

from __future__ import annotations

import re
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
TOKEN, AGENT_TOKEN = f"{DATA}/server/token", f"{DATA}/server/agent-token"
UNITS = ("k3s.service", "k3s-agent.service")
FIREWALL_UNIT = "k3s-firewall.service"
SYSCTL_FILE, MODULES_FILE = "/etc/sysctl.d/90-k3s.conf", "/etc/modules-load.d/k3s.conf"
S3 = ("endpoint", "bucket", "folder", "region", "insecure")
S3_KEYS = ("access_key", "secret_key")
IMAGE_SUFFIXES = ("tar.zst", "tar.gz", "tar")  # of the archive with the images, smallest first
NAMESPACE_KEYS = ("name", "cpu", "memory", "users", "viewers", "security", "egress")
SECURITY_LEVELS = ("restricted", "baseline", "privileged")  # of pods, from the strictest
ENVIRONMENT_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
MODULES = f"{HEADER}br_netfilter\noverlay\n"


@dataclass(frozen=True)
class Node:
    """A host as a node of the cluster."""

    name: str
    server: bool
    labels: tuple[str, ...] = ()
    taints: tuple[str, ...] = ()
    address: str = ""  # for other nodes
    interface: str = ""  # the one with this address; "" if the address is not on the host itself
    config: Mapping[str, Any] = field(default_factory=dict)  # of this host, over that of all servers or agents

    @property
    def unit(self) -> str:
        return UNITS[0] if self.server else UNITS[1]


def sysctl_settings(more: Mapping[str, int], *, ipv6: bool) -> str:
    """Return the kernel settings. IPv6 forwarding makes a host drop routes that routers advertise."""
    settings = {"net.ipv4.ip_forward": 1, **({"net.ipv6.conf.all.forwarding": 1} if ipv6 else {}), **more}
    return HEADER + "".join(f"{name} = {value}\n" for name, value in settings.items())


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


def unit_environment(given: Mapping[str, str], addresses: Sequence[str]) -> str:
    """Return the environment file of the unit. No node is reached through a proxy."""
    values = dict(given)
    if any(name.upper().endswith("_PROXY") for name in values):
        own = [each for each in values.get("NO_PROXY", "").split(",") if each]
        values["NO_PROXY"] = ",".join(dict.fromkeys([*own, *addresses]))
    return HEADER + "".join(f"{name}='{value}'\n" for name, value in sorted(values.items()))


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
        yield f'k3s_version: {version!r} is not a release; use one such as "v1.36.4+k3s1"'
    if servers % 2 == 0:
        yield f"k3s_servers: {servers} servers tolerate no more failures than {servers - 1}; use 1, 3 or 5"
    if given.get("k3s_token"):
        yield from passwords.faults("k3s_token", given["k3s_token"])
    if given.get("k3s_agent_token"):
        yield from passwords.faults("k3s_agent_token", given["k3s_agent_token"])
    for name, value in (given.get("k3s_environment") or {}).items():
        if isinstance(value, dict):
            yield from passwords.faults(f"k3s_environment: {name}", value)
    yield from _namespace_faults(given.get("k3s_namespaces") or [])
    yield from unknown_keys("k3s_snapshots", given.get("k3s_snapshots") or {}, ("schedule", "keep", "s3"))
    if s3 := (given.get("k3s_snapshots") or {}).get("s3"):
        yield from unknown_keys("k3s_snapshots: s3", s3, (*S3, *S3_KEYS))
        # Without keys, K3s asks the cloud for those of the host's role.
        for name in S3_KEYS if any(name in s3 for name in S3_KEYS) else ():
            yield from passwords.faults(f"k3s_snapshots: s3: {name}", s3.get(name))
    if not isinstance(given.get("k3s_drain", 0), int) or given.get("k3s_drain", 0) < 0:
        yield f"k3s_drain: {given['k3s_drain']!r} is invalid; use seconds, or 0 for no drain"
    if (given.get("k3s_airgap") or IMAGE_SUFFIXES[0]) not in (True, *IMAGE_SUFFIXES):
        allowed = ", ".join(IMAGE_SUFFIXES)
        yield f"k3s_airgap: {given['k3s_airgap']!r} is invalid; use True for {IMAGE_SUFFIXES[0]}, or one of {allowed}"


def _namespace_faults(namespaces: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for namespace in namespaces:
        if not namespace.get("name"):
            yield f"k3s_namespaces: {dict(namespace)} has no name; add one"
        yield from unknown_keys("k3s_namespaces", namespace, NAMESPACE_KEYS)
        if namespace.get("security", "restricted") not in SECURITY_LEVELS:
            allowed = ", ".join(SECURITY_LEVELS)
            yield f"k3s_namespaces: security is {namespace['security']!r}; use one of {allowed}"


def environment_faults(values: Mapping[str, str]) -> Iterator[str]:
    """Yield a fault for each variable that systemd and the shell would not read as it is meant."""
    for name, value in values.items():
        if not ENVIRONMENT_NAME.fullmatch(name) or set("'\n\\") & set(value):
            yield f"k3s_environment: {name} is not a variable, or its value has a quote, a backslash or a new line"


def token_faults(server: str, tokens: Sequence[str], token: str, source: str) -> Iterator[str]:
    """Yield a fault unless a server of the cluster has this token; `tokens` are those of the servers, "" for none.

    `k3s token rotate` gives the new token to one server. The others get it when they restart with it.
    """
    if any(tokens) and _short(token) not in map(_short, tokens):
        fact = f"differs from the one in {source}" if source else "is not on your machine"
        yield (
            f"{server}: the token of its cluster {fact}; set k3s_token to the part after the last colon "
            f"of {TOKEN} on that server"
        )


def agent_token_faults(server: str, current: str, token: str) -> Iterator[str]:
    """Yield a fault if agents would get another token.

    K3s saves it in etcd only when it creates a cluster. A server that has another one on its disk does not start again.
    """
    if current and _short(current) != _short(token):
        yield (
            f"{server}: its cluster has another token for agents, which K3s can't change; set k3s_agent_token to the "
            f"part after the last colon of {AGENT_TOKEN} on that server"
        )


def _short(token: str) -> str:
    return token.strip().rpartition(":")[2]


def identity_faults(identities: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield a fault for each hostname or machine-id that two hosts share, as copies of one machine do."""
    for index, kind in enumerate(("hostname", "machine-id")):
        hosts_by_value: dict[str, list[str]] = {}
        for name, lines in identities.items():
            hosts_by_value.setdefault(lines[index], []).append(name)
        for value, names in hosts_by_value.items():
            if len(names) > 1:
                yield f"{', '.join(names)} have the same {kind}, {value}; give each its own"
