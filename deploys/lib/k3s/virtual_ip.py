"""A virtual IP address of the API, which kube-vip keeps on one of the servers.

kube-vip is a pod that the kubelet itself starts from a file on each server. So it needs no API to start, and the second
server can join through the address. It announces the address with ARP, so the servers must share a network.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from deploys.lib.facts import HostFacts, operation_with_facts, paths
from deploys.lib.header import HEADER
from deploys.lib.k3s.files import DATA
from deploys.lib.k3s.node_config import PORT, is_ip_address
from deploys.lib.operations import Steps

MANIFEST = f"{DATA}/agent/pod-manifests/kube-vip.yaml"
IMAGE = "ghcr.io/kube-vip/kube-vip:v1.0.3"
ADMIN_CONFIG = "/etc/kubernetes/admin.conf"  # where kube-vip looks for it


def virtual_ip_faults(address: str, addresses: Collection[str], registration: str) -> Iterator[str]:
    """Yield each fault in the virtual IP address; `addresses` are those of the hosts."""
    if address and not is_ip_address(address):
        yield f"k3s_virtual_ip: {address} is not an IP address; use a free one in the network of the servers"
    if address in addresses and address:
        yield f"k3s_virtual_ip: {address} is the address of a host; use a free one in the network of the servers"
    if address and registration:
        yield "k3s_virtual_ip and k3s_registration are both where nodes join; keep one of them"


def kube_vip_pod(address: str, interface: str, image: str) -> str:
    """Return the pod as the kubelet reads it. Without an interface, kube-vip uses that of the default route."""
    settings = {
        "vip_arp": "true",
        "address": address,
        "port": str(PORT),
        **({"vip_interface": interface} if interface else {}),
        "vip_subnet": "128" if ":" in address else "32",
        "cp_enable": "true",
        "cp_namespace": "kube-system",
        "svc_enable": "false",
        "vip_leaderelection": "true",
        "vip_leasename": "plndr-cp-lock",
        "vip_leaseduration": "15",
        "vip_renewdeadline": "10",
        "vip_retryperiod": "2",
        "prometheus_server": "127.0.0.1:2112",
    }
    variables: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in settings.items()]
    variables.append({"name": "vip_nodename", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    container = {
        "name": "kube-vip",
        "image": image,
        "args": ["manager"],
        "env": variables,
        "securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}},
        "volumeMounts": [{"name": "kubeconfig", "mountPath": ADMIN_CONFIG, "readOnly": True}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-vip", "namespace": "kube-system"},
        "spec": {
            "hostNetwork": True,
            "priorityClassName": "system-node-critical",
            # With a kubeconfig, kube-vip asks the server "kubernetes": that of its own host.
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": ["kubernetes"]}],
            "containers": [container],
            "volumes": [{"name": "kubeconfig", "hostPath": {"path": "/etc/rancher/k3s/k3s.yaml", "type": "File"}}],
        },
    }
    return HEADER + json.dumps(pod, indent=2) + "\n"


@operation_with_facts(lambda **_: paths(MANIFEST))
def remove_virtual_ip(facts: HostFacts) -> Steps:
    """Remove the pod of an earlier run. The kubelet then stops it."""
    if MANIFEST in facts.paths:
        yield f"rm {MANIFEST}"


def release_command(address: str) -> str:
    """Return a command that takes the address from this host, where a stopped kube-vip leaves it."""
    size = "128" if ":" in address else "32"
    return (
        f"ip -oneline address show to {address} | awk '{{print $2}}' | "
        f"xargs --no-run-if-empty --max-args=1 ip address delete {address}/{size} dev"
    )
