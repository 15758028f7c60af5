"""Drain a node before it stops. Afterwards uncordon it only if groundcrew cordoned it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, kubectl_or_fail

CORDONED_BY_US = "groundcrew/cordoned"  # annotation of the nodes that groundcrew, and not an admin, cordoned


def is_cordoned_by_us(node: Mapping[str, Any] | None) -> bool:
    """Return whether the node is cordoned, and groundcrew did it."""
    return bool(node and is_cordoned(node) and CORDONED_BY_US in node["metadata"].get("annotations", {}))


def is_cordoned(node: Mapping[str, Any]) -> bool:
    return bool(node["spec"].get("unschedulable"))


def cordon_patch(*, cordoned: bool) -> list[str]:
    """Return kubectl arguments that cordon or uncordon a node and set or remove the annotation in one request."""
    change = {
        "metadata": {"annotations": {CORDONED_BY_US: "yes" if cordoned else None}},
        "spec": {"unschedulable": cordoned or None},
    }
    return ["--type=merge", f"--patch={json.dumps(change)}"]


def drain(server: str, name: str, node: Mapping[str, Any], limit: int) -> None:
    """Cordon a node, unless it is cordoned, and move its pods to other nodes."""
    failure = f"draining node {name} failed"
    if not is_cordoned(node):
        kubectl_or_fail(server, "patch", "node", name, *cordon_patch(cordoned=True), failure=failure)
    options = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={limit}s")
    kubectl_or_fail(server, "drain", name, *options, failure=failure, seconds=limit + ANSWER_TIMEOUT)


def uncordon(server: str, name: str) -> None:
    """Let a node take pods again, and remove the annotation."""
    failure = f"uncordoning node {name} failed"
    kubectl_or_fail(server, "patch", "node", name, *cordon_patch(cordoned=False), failure=failure)
