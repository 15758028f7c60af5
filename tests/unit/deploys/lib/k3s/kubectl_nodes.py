"""Nodes of a K3s cluster, as `kubectl get nodes --output=json` prints them."""

from __future__ import annotations

from typing import Any

from deploys.lib.k3s.cluster import ETCD
from deploys.lib.k3s.draining import CORDONED_BY_US


def node(
    ready: bool = True, etcd: bool = True, cordoned: bool = False, by_us: bool = False, version: str = "v1.33.5+k3s1"
) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {ETCD: "true"} if etcd else {},
            "annotations": {CORDONED_BY_US: "yes"} if by_us else {},
        },
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "nodeInfo": {"kubeletVersion": version},
        },
    }
