"""Which upgrades of K3s are allowed, and the order of nodes."""

from __future__ import annotations

from itertools import pairwise

import pytest

from deploys.lib.k3s import versions


def test_releases_sort_by_age() -> None:
    rising = ["v1.9.9+k3s1", "v1.33.5-rc2+k3s1", "v1.33.5-rc10+k3s1", "v1.33.5+k3s1", "v1.33.5+k3s2", "v1.33.10+k3s1"]
    for older, newer in pairwise(map(versions.parse_release, rising)):
        assert older is not None
        assert newer is not None
        assert older < newer
    assert [versions.parse_release(bad) for bad in ("1.33.5+k3s1", "v1.33.5", "v1.33.5+rke2r1", "")] == [None] * 4


@pytest.mark.parametrize(
    ("current", "target", "allowed", "fault"),
    [
        ("v1.35.5+k3s1", "v1.35.5+k3s1", {}, ""),
        ("v1.35.5+k3s1", "v1.35.9+k3s1", {}, ""),
        ("v1.35.5+k3s1", "v1.36.0+k3s1", {}, ""),
        ("v1.35.5+k3s1", "v1.37.0+k3s1", {}, "upgrade to v1.36 first, or add --data k3s_skip_minor=true"),
        ("v1.35.5+k3s1", "v1.37.0+k3s1", {"skip": True}, ""),
        ("v1.35.5+k3s1", "v2.35.0+k3s1", {}, "skips a minor version"),
        ("v1.35.5+k3s1", "v1.35.4+k3s1", {}, "or add --data k3s_backwards=true"),
        ("v1.35.5+k3s1", "v1.35.5-rc1+k3s1", {"skip": True}, "is older"),
        ("v1.35.5+k3s1", "v1.31.0+k3s1", {"backwards": True}, ""),
        ("dev", "v1.31.0+k3s1", {}, ""),
    ],
)
def test_skipping_a_minor_version_and_going_backwards_need_permission(
    current: str, target: str, allowed: dict[str, bool], fault: str
) -> None:
    faults = list(versions.faults("one", current, target, **{"skip": False, "backwards": False, **allowed}))
    assert len(faults) == bool(fault), faults
    assert fault in "".join(faults)


@pytest.mark.parametrize(
    ("current", "target", "faults"),
    [
        ("v1.33.6+k3s1", "v1.33.7+k3s3", 0),
        ("v1.33.7+k3s2", "v1.34.0+k3s1", 1),
        ("v1.33.7+k3s3", "v1.34.0+k3s1", 0),
        ("v1.34.0+k3s1", "v1.35.0+k3s1", 0),
        ("v1.32.11+k3s3", "v1.34.0+k3s1", 1),
    ],
)
def test_the_last_release_before_etcd_36_comes_first(current: str, target: str, faults: int) -> None:
    found = list(versions.faults("one", current, target, skip=True, backwards=False))
    assert len(found) == faults
    assert "upgrade to v1.33.7+k3s3 or a newer v1.33 first" in "".join(found) or not faults


@pytest.mark.parametrize(
    ("of_servers", "faults"),
    [
        ([], 0),  # no cluster yet
        (["v1.35.5+k3s1"], 0),
        (["v1.36.0+k3s1", "dev"], 0),
        (["v1.35.4+k3s1", "v1.35.5+k3s1"], 1),  # in the middle of an upgrade
    ],
)
def test_a_new_node_is_not_newer_than_the_servers(of_servers: list[str], faults: int) -> None:
    found = list(versions.join_faults("two", "v1.35.5+k3s1", of_servers))
    assert len(found) == faults
    assert "a server of the cluster runs v1.35.4+k3s1" in "".join(found) or not faults


def test_agents_are_upgraded_in_batches() -> None:
    assert versions.batches(["a", "b", "c"], 2) == [["a", "b"], ["c"]]
    assert versions.batches([], 1) == []


@pytest.mark.parametrize(("members", "ready", "expected"), [(1, 1, True), (2, 1, False), (3, 2, True), (5, 2, False)])
def test_a_majority_is_more_than_half(members: int, ready: int, expected: bool) -> None:
    assert versions.has_majority(members, ready) is expected
