"""Drain a node before it stops. Afterwards uncordon it only if groundcrew cordoned it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, StepFailed, kubectl_or_fail

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


@dataclass(frozen=True)
class Drain:
    """How pods leave a node."""

    limit: int  # seconds; 0 means no drain
    force: bool = False  # delete pods without a controller, and those that a disruption budget keeps

    @property
    def options(self) -> list[str]:
        """The options of `kubectl drain`."""
        forced = ["--force", "--disable-eviction"] if self.force else []
        return ["--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={self.limit}s", *forced]


def drain_settings(given: Mapping[str, Any]) -> Drain:
    """Return the drain that group data asks for."""
    return Drain(int(given.get("k3s_drain", 300)), bool(given.get("k3s_drain_force")))


def drain(server: str, name: str, node: Mapping[str, Any], how: Drain) -> None:
    """Cordon a node, unless it is cordoned, and move its pods to other nodes. Without a limit, do nothing."""
    if not how.limit:
        return
    failure = f"draining node {name} failed"
    if not is_cordoned(node):
        kubectl_or_fail(server, "patch", "node", name, *cordon_patch(cordoned=True), failure=failure)
    try:
        kubectl_or_fail(server, "drain", name, *how.options, failure=failure, seconds=how.limit + ANSWER_TIMEOUT)
    except StepFailed as refused:
        if how.force:
            raise
        raise StepFailed(
            f"{refused}\nto delete pods that have no controller, or that a disruption budget keeps: "
            "--data k3s_drain_force=true; to stop the node with its pods: --data k3s_drain=0"
        ) from None


def uncordon(server: str, name: str) -> None:
    """Let a node take pods again, and remove the annotation."""
    failure = f"uncordoning node {name} failed"
    kubectl_or_fail(server, "patch", "node", name, *cordon_patch(cordoned=False), failure=failure)
