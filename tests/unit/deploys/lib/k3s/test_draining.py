"""Which cordoned nodes groundcrew uncordons."""

from __future__ import annotations

import json

from deploys.lib.k3s import draining
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
