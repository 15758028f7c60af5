"""A node is emptied before it is taken down, and takes pods again only if it was we who closed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from deploys.lib.k3s.cluster import PATIENCE, must_kubectl

OURS = "groundcrew/closed"  # the annotation of a node that we closed, and nobody else


def is_ours(node: Mapping[str, Any] | None) -> bool:
    """Closed to pods, and by us."""
    return bool(node and is_closed(node) and OURS in node["metadata"].get("annotations", {}))


def is_closed(node: Mapping[str, Any]) -> bool:
    return bool(node["spec"].get("unschedulable"))


def patch(*, closed: bool) -> list[str]:
    """Words of kubectl that close or open a node and say so on it, in one: no crash comes between."""
    told = {"metadata": {"annotations": {OURS: "yes" if closed else None}}, "spec": {"unschedulable": closed or None}}
    return ["--type=merge", f"--patch={json.dumps(told)}"]


def drain(server: str, name: str, node: Mapping[str, Any], limit: int) -> None:
    """Close a node, unless somebody has, and move its pods elsewhere."""
    otherwise = f"node {name} could not be emptied"
    if not is_closed(node):
        must_kubectl(server, "patch", "node", name, *patch(closed=True), otherwise=otherwise)
    words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={limit}s")
    must_kubectl(server, "drain", name, *words, otherwise=otherwise, seconds=limit + PATIENCE)


def reopen(server: str, name: str) -> None:
    must_kubectl(server, "patch", "node", name, *patch(closed=False), otherwise=f"node {name} could not be opened")
