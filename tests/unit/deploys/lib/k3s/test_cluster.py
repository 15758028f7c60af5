"""Whether a host is a node of a running cluster."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from deploys.lib.k3s import cluster
from deploys.lib.preflight import DeployError


def test_faults_name_an_unknown_node_and_a_cluster_that_does_not_answer() -> None:
    assert list(cluster.membership_faults("one", {"one": 1})) == []
    assert "it has two" in next(cluster.membership_faults("one", {"two": 1}))
    assert "no server of the cluster answers" in next(cluster.membership_faults("one", None))


@pytest.mark.parametrize(
    ("settings", "groups", "expected"),
    [
        ({}, ["k3s_servers", "staging"], "staging"),
        ({"environment": "qa"}, ["@terraform", "k3s_servers"], "qa"),
        ({"environment": "qa"}, ["k3s_servers", "staging"], "qa"),
    ],
)
def test_the_environment_is_data_or_the_inventorys_name(
    settings: dict[str, str], groups: list[str], expected: str
) -> None:
    assert cluster.environment_name(settings, groups) == expected


@pytest.mark.parametrize("name", ["k3s_servers", "k3s_agents", "../etc", "@terraform"])
def test_a_group_of_hosts_is_no_environment(name: str) -> None:
    with pytest.raises(DeployError, match="the inventory has no environment"):
        cluster.environment_name({}, [name])


def test_a_host_without_the_memory_cgroup_is_refused() -> None:
    assert not list(cluster.cgroup_faults("pi", ["memory", "1: lo    inet 127.0.0.1/8"]))
    [fault] = cluster.cgroup_faults("pi", ["1: lo    inet 127.0.0.1/8"])
    assert "append cgroup_memory=1 cgroup_enable=memory to the line in /boot/firmware/cmdline.txt" in fault


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (["etcdserver: request timed out, possibly due to previous leader failure", "etcdserver: leader changed"], ""),
        (["Error from server (Forbidden): no"], "deleting failed: Error from server"),
        (["etcdserver: no leader"] * 100, "deleting failed: etcdserver: no leader"),
    ],
)
def test_kubectl_runs_again_while_etcd_is_busy(
    monkeypatch: pytest.MonkeyPatch, answers: list[str], message: str
) -> None:
    left, now = iter(answers), iter(range(1000))
    monkeypatch.setattr(cluster, "run_kubectl", lambda *_, **__: (not (text := next(left, "")), [text]))
    monkeypatch.setattr(cluster.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    with pytest.raises(cluster.StepFailed, match=message) if message else nullcontext():
        cluster.kubectl_or_fail("one", "delete", "node", "two", failure="deleting failed")
    assert next(now) <= cluster.ETCD_PATIENCE + 2
