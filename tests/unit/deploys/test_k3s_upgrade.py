"""When a K3s cluster goes to another version, and who goes when."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from deploys.lib.k3s import cluster, draining, rolling, versions
from tests.unit.deploys.k3s import node


def test_releases_have_an_order() -> None:
    rising = ["v1.9.9+k3s1", "v1.33.5-rc2+k3s1", "v1.33.5-rc10+k3s1", "v1.33.5+k3s1", "v1.33.5+k3s2", "v1.33.10+k3s1"]
    for older, younger in pairwise(map(versions.release, rising)):
        assert older is not None
        assert younger is not None
        assert older < younger
    assert [versions.release(bad) for bad in ("1.33.5+k3s1", "v1.33.5", "v1.33.5+rke2r1", "")] == [None] * 4


@pytest.mark.parametrize(
    ("there", "wanted", "told", "said"),
    [
        ("v1.33.5+k3s1", "v1.33.5+k3s1", {}, ""),
        ("v1.33.5+k3s1", "v1.33.9+k3s1", {}, ""),
        ("v1.33.5+k3s1", "v1.34.0+k3s1", {}, ""),
        ("v1.33.5+k3s1", "v1.35.0+k3s1", {}, "go to a release of v1.34 first, or say so: --data k3s_skip_minor=true"),
        ("v1.33.5+k3s1", "v1.35.0+k3s1", {"skip": True}, ""),
        ("v1.33.5+k3s1", "v2.33.0+k3s1", {}, "skips a minor version"),
        ("v1.33.5+k3s1", "v1.33.4+k3s1", {}, "or say so: --data k3s_backwards=true"),
        ("v1.33.5+k3s1", "v1.33.5-rc1+k3s1", {"skip": True}, "is older"),
        ("v1.33.5+k3s1", "v1.31.0+k3s1", {"back": True}, ""),
        ("dev", "v1.31.0+k3s1", {}, ""),
    ],
)
def test_no_minor_version_is_skipped_and_nothing_goes_back_unless_told(
    there: str, wanted: str, told: dict[str, bool], said: str
) -> None:
    faults = list(versions.faults("one", there, wanted, **{"skip": False, "back": False, **told}))
    assert (len(faults), said in "".join(faults)) == (bool(said), True)


def test_agents_go_in_small_batches() -> None:
    assert versions.batches(["a", "b", "c"], 2) == [["a", "b"], ["c"]]
    assert versions.batches([], 1) == []


@pytest.mark.parametrize(("members", "ready", "holds"), [(1, 1, True), (2, 1, False), (3, 2, True), (5, 2, False)])
def test_a_majority_is_more_than_half(members: int, ready: int, holds: bool) -> None:
    assert versions.has_majority(members, ready) is holds


def test_only_who_was_closed_by_us_is_ours() -> None:
    assert draining.is_ours(node(closed=True, ours=True))
    assert not draining.is_ours(node(closed=True))
    assert not draining.is_ours(node(ours=True)), "somebody has opened it since"
    assert not draining.is_ours(None)


def test_a_node_is_closed_and_marked_in_one() -> None:
    kind, patch = draining.patch(closed=True)
    assert kind == "--type=merge"
    assert json.loads(patch.removeprefix("--patch=")) == {
        "metadata": {"annotations": {"groundcrew/closed": "yes"}},
        "spec": {"unschedulable": True},
    }
    assert json.loads(draining.patch(closed=False)[1].removeprefix("--patch=")) == {
        "metadata": {"annotations": {"groundcrew/closed": None}},
        "spec": {"unschedulable": None},
    }


def test_a_server_is_not_restarted_over_the_majority() -> None:
    three = {"one": node(), "two": node(), "three": node(), "four": node(ready=False, etcd=False)}
    assert rolling.fault_of_majority(three, "one") == ""
    assert "since two is not ready" in rolling.fault_of_majority({**three, "two": node(ready=False)}, "one")
    assert rolling.fault_of_majority({**three, "two": node(ready=False)}, "two") == "", "it can only get better"
    assert rolling.fault_of_majority({"one": node()}, "one") == "", "a single server has to go down"


def test_nodes_that_are_unknown_or_nobody_to_ask() -> None:
    assert list(cluster.faults_of_node("one", {"one": 1})) == []
    assert "there are two" in next(cluster.faults_of_node("one", {"two": 1}))
    assert "no server of the cluster answers" in next(cluster.faults_of_node("one", None))
