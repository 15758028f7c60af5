"""Which cordoned nodes groundcrew uncordons."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deploys.lib.k3s import draining
from deploys.lib.k3s.draining import Drain
from tests.unit.deploys.lib.k3s.kubectl_nodes import node


def test_only_a_node_that_groundcrew_cordoned_counts_as_ours() -> None:
    assert draining.is_cordoned_by_us(node(cordoned=True, by_us=True))
    assert not draining.is_cordoned_by_us(node(cordoned=True))
    assert not draining.is_cordoned_by_us(node(by_us=True)), "an admin has uncordoned it since"
    assert not draining.is_cordoned_by_us(None)


def test_one_request_cordons_a_node_and_sets_the_annotation() -> None:
    kind, patch = draining.cordon_patch(cordoned=True)
    assert kind == "--type=merge"
    assert json.loads(patch.removeprefix("--patch=")) == {
        "metadata": {"annotations": {"groundcrew/cordoned": "yes"}},
        "spec": {"unschedulable": True},
    }
    assert json.loads(draining.cordon_patch(cordoned=False)[1].removeprefix("--patch=")) == {
        "metadata": {"annotations": {"groundcrew/cordoned": None}},
        "spec": {"unschedulable": None},
    }


@pytest.mark.parametrize(
    ("given", "drain", "forced"),
    [
        ({}, Drain(300), False),
        ({"k3s_drain": 0}, Drain(0), False),
        ({"k3s_drain": 60, "k3s_drain_force": True}, Drain(60, force=True), True),
    ],
)
def test_group_data_says_how_pods_leave_a_node(given: dict[str, Any], drain: Drain, forced: bool) -> None:
    assert draining.drain_settings(given) == drain
    usual = ["--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={drain.limit}s"]
    assert drain.options == [*usual, *(["--force", "--disable-eviction"] if forced else [])]


def test_no_drain_leaves_the_node_as_it_is() -> None:
    draining.drain("no-server-is-asked", "one", node(), Drain(0))
