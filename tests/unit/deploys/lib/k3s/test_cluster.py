"""Whether a host is a node of a running cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploys.lib.k3s import app_promotion, app_steps, cluster, namespaces
from deploys.lib.k3s.apps import ClusterApp
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
    ("data", "expected"),
    [
        ({"k3s_address": "10.0.0.5"}, ("10.0.0.5",)),
        ({"k3s_address": "one.internal"}, ("192.0.2.5", "10.0.0.5", "fd00::5")),
        ({"k3s_address": "10.0.0.5", "k3s_host_config": {"node-ip": ["10.0.0.5", "fd00::5"]}},
         ("192.0.2.5", "10.0.0.5", "fd00::5")),
    ],
)  # fmt: skip
def test_peers_know_the_address_that_flannel_sends_from(
    monkeypatch: pytest.MonkeyPatch, data: dict[str, object], expected: tuple[str, ...]
) -> None:
    end = "\\       valid_lft forever preferred_lft forever"
    found = [
        f"2: eth0    inet 192.0.2.5/24 scope global eth0 {end}",
        f"3: eth1    inet 10.0.0.5/24 scope global eth1 {end}",
        f"3: eth1    inet6 fd00::5/64 scope global {end}",
        f"4: cni0    inet6 fd42::1/64 scope global {end}",
    ]
    monkeypatch.setattr(cluster, "run_on", lambda *_: (True, found))
    assert cluster.addresses_of.__wrapped__(SimpleNamespace(name="one", data=data)) == expected


SPEC = {"chart": None, "namespace": "shop", "objects": []}
CALLS: dict[str, Callable[[], object]] = {
    "any": lambda: cluster.kubectl_or_fail("one", "delete", "node", "two", failure="deleting failed"),
    "namespaces": lambda: namespaces._apply_or_fail("{}", ["one"]),
    "apps": lambda: app_steps.read_apps("one"),
    "images": lambda: app_promotion._running_images("one", "shop"),
    "differences": lambda: app_steps.is_applied("one", ClusterApp("shop", "shop", SPEC, (), 60), "abort"),
}
BUSY = ["etcdserver: request timed out, possibly due to previous leader failure", "etcdserver: leader changed"]


def answer_with(monkeypatch: pytest.MonkeyPatch, errors: list[str]) -> Iterator[int]:
    """Let kubectl fail with these errors before it succeeds; return the seconds that have passed."""
    left, now = iter(errors), iter(range(1000))

    def run_on(_server: str, command: str, _stdin: str = "") -> tuple[bool, list[str]]:
        error = "" if "--raw=/readyz" in command else next(left, "")
        return not error, [error or '{"items": []}']

    monkeypatch.setattr(cluster, "run_on", run_on)
    monkeypatch.setattr(cluster.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    return now


@pytest.mark.parametrize("call", CALLS)
def test_kubectl_runs_again_while_etcd_is_busy(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    answer_with(monkeypatch, BUSY)
    assert CALLS[call]() is not False


@pytest.mark.parametrize("call", CALLS)
def test_kubectl_gives_up_after_a_minute_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    now = answer_with(monkeypatch, ["etcdserver: no leader"] * 100)
    remedy = "etcdserver: no leader.*etcd was busy for 60 s: check that most servers run"
    with pytest.raises(cluster.StepFailed, match=f"(?s){remedy}"):
        CALLS[call]()
    assert next(now) <= cluster.ETCD_PATIENCE + 2


@pytest.mark.parametrize("call", CALLS)
def test_other_errors_of_kubectl_are_reported_at_once(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    answer_with(monkeypatch, ["Error from server (Forbidden): no"])
    with pytest.raises(cluster.StepFailed, match=r"failed.*\s+Error from server \(Forbidden\): no$"):
        CALLS[call]()


# What a kubectl prints and its exit code, and what `differs` makes of it.
@pytest.mark.parametrize(
    ("kubectl", "found"),
    [
        ("cat > /dev/null", False),
        ("cat; exit 1", True),
        ("echo 'Error from server (NotFound): namespaces \"ada\" not found' >&2; exit 2", True),
        ("echo 'Error from server (BadRequest): admission webhook \"x\" does not support dry run' >&2; exit 2", True),
        ("echo 'Error from server (NotFound): deployments \"web\" not found' >&2; exit 2", "not found"),
        ("echo 'The connection to the server 127.0.0.1:6443 was refused' >&2; exit 2", "was refused"),
        ("echo 'open /etc/rancher/k3s/k3s.yaml: permission denied' >&2; exit 1", "permission denied"),
        ("exit 124", "no answer within 60 s"),
    ],
)
def test_a_difference_is_told_apart_from_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kubectl: str, found: bool | str
) -> None:
    program = tmp_path / "k3s"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = 'kubectl diff --server-side --filename=-' ] || exit 9\n{kubectl}\n")
    program.chmod(0o755)

    def run_on(_server: str, command: str, stdin: str) -> tuple[bool, list[str]]:
        done = subprocess.run(["sh", "-c", command], input=stdin, capture_output=True, text=True, check=False)
        return done.returncode == 0, (done.stdout + done.stderr * bool(done.returncode)).splitlines()

    monkeypatch.setattr(cluster, "BINARY", str(program))
    monkeypatch.setattr(cluster, "run_on", run_on)
    if isinstance(found, bool):
        assert cluster.differs("one", "app shop", "--server-side", manifest="{}") is found
        return
    with pytest.raises(cluster.StepFailed, match=f"comparing app shop with the cluster failed: .*{found}"):
        cluster.differs("one", "app shop", "--server-side", manifest="{}")
