"""Nodes of a K3s cluster, as kubectl tells of them."""

from __future__ import annotations

from typing import Any

from deploys.lib.k3s.cluster import ETCD
from deploys.lib.k3s.draining import OURS


def node(
    ready: bool = True, etcd: bool = True, closed: bool = False, ours: bool = False, version: str = "v1.33.5+k3s1"
) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {ETCD: "true"} if etcd else {},
            "annotations": {OURS: "yes"} if ours else {},
        },
        "spec": {"unschedulable": True} if closed else {},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "nodeInfo": {"kubeletVersion": version},
        },
    }
