"""deploys/k3s_restore.py on booted hosts, with snapshots on a disk and in a real S3 server (SeaweedFS)."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from tests.lab import commands
from tests.lab.k3s import begun, first_run, kubectl, left, nodes, ready, run
from tests.lab.lab import Lab
from tests.lab.pyinfra import end
from tests.parts.patience import until
from tests.parts.s3 import Bucket

restore = partial(run, of="k3s_restore")
FOLDER = "/var/lib/rancher/k3s/server/db/snapshots"


@pytest.fixture
def cluster(prepared: Callable[..., Lab]) -> Lab:
    return prepared("k3s", 5, first_run)


def saved(lab: Lab, name: str) -> str:
    """Save a snapshot, then change the cluster; return the snapshot's name."""
    output = lab.ask(lab.hosts[0], f"k3s etcd-snapshot save --name={name}")
    kubectl(lab, "taint node lab-4 later=yes:NoSchedule")
    return output.split()[1]


def taints(lab: Lab) -> list[Any]:
    return [taint for node in nodes(lab).values() for taint in node["spec"]["taints"]]


@contextmanager
def reached(lab: Lab, bucket: Bucket) -> Iterator[None]:
    """Forward the address of this machine's S3 server to the first host."""
    _, port = bucket.target
    forwarding = ["-N", "-o", "ExitOnForwardFailure=yes", "-R", f"{port}:127.0.0.1:{port}"]
    *ssh, first = commands.ssh(lab.home, lab.hosts[0].address, "root")
    with subprocess.Popen([*ssh, *forwarding, first]) as tunnel:
        try:
            reach = f"curl --silent --show-error --output /dev/null {bucket.endpoint}"
            until(lambda: lab.ssh(lab.hosts[0], reach).returncode == 0, saw=lambda: lab.ssh(lab.hosts[0], reach).stderr)
            yield
        finally:
            tunnel.terminate()


@pytest.mark.long
def test_all_nodes_are_restored_and_the_second_run_changes_nothing(cluster: Lab) -> None:
    before = saved(cluster, "before")
    other = cluster.ask(cluster.hosts[1], "k3s etcd-snapshot save").split()[1]
    result = restore(cluster, "--data", f"k3s_restore=staging/{before}")
    assert result.code == 0, result.text
    assert (taints(cluster), len(ready(cluster)), len(ready(cluster, 2))) == ([], 5, 5)
    assert other in cluster.ask(cluster.hosts[1], f"ls {FOLDER}"), "snapshots on the disk of another server stay"
    for again in (restore(cluster, "--data", f"k3s_restore=staging/{before}"), run(cluster)):
        assert (again.code, again.changes) == (0, 0), again.text


@pytest.mark.long
def test_the_next_run_completes_a_killed_restore(cluster: Lab) -> None:
    before = saved(cluster, "killed")
    cluster.ask(cluster.hosts[0], "echo 60 > /run/standin-slow")
    killed = begun(cluster, "--data", f"k3s_restore=staging/{before}", of="k3s_restore")
    while cluster.ssh(cluster.hosts[0], "test ! -e /var/lib/rancher/k3s/server/db/etcd").returncode:
        assert killed.poll() is None, end(killed).text
    killed.kill()
    end(killed)
    for host in cluster.hosts[1:3]:
        assert cluster.ssh(host, "systemctl is-enabled k3s").stdout == "disabled\n", (
            "else it would start with the old state"
        )
    cluster.ask(cluster.hosts[0], "rm /run/standin-slow")
    result = restore(cluster, "--data", f"k3s_restore=staging/{before}")
    assert result.code == 0, result.text
    assert (taints(cluster), len(ready(cluster))) == ([], 5)
    assert run(cluster).changes == 0


@pytest.mark.long
def test_lost_hosts_are_restored_from_s3(fresh: Callable[..., Lab], seaweed: Bucket) -> None:
    lab = fresh(4, 13)
    s3 = {
        "endpoint": seaweed.endpoint.removeprefix("http://"),
        "insecure": True,
        "bucket": seaweed.name,
        "folder": "staging",
        "access_key": {"env": "AWS_ACCESS_KEY_ID"},
        "secret_key": {"env": "AWS_SECRET_ACCESS_KEY"},
    }
    settings: dict[str, Any] = {"k3s_snapshots": {"keep": 2, "s3": s3}}  # of each of the three servers
    with reached(lab, seaweed):
        assert run(lab, **settings).code == 0
        kubectl(lab, "cordon lab-2")
        save = "k3s etcd-snapshot save --name=kept && sleep 1"  # their names differ by the second
        lab.ask(lab.hosts[0], " && ".join([save] * 6))
        snapshot = lab.ask(lab.hosts[0], "k3s etcd-snapshot save --name=kept").split()[1]
        listed_by_k3s = lab.ask(lab.hosts[0], "k3s etcd-snapshot ls")
        assert listed_by_k3s.count(f"s3://{seaweed.name}/") == 6, "the seventh removes the first"
        reset = run(lab, "--data", "k3s_reset=staging", of="k3s_reset", **settings)
        assert reset.code == 0, reset.text
        assert [left(lab, host) for host in lab.hosts] == [""] * 4
        assert run(lab, "--data", "k3s_reset=staging", of="k3s_reset", **settings).changes == 0
        assert run(lab, **settings).code == 0
        listed = restore(lab, **settings)
        assert listed.code == 1, listed.text
        assert f"--data k3s_restore=staging/{snapshot}; snapshots:\n    {snapshot}  " in listed.text
        result = restore(lab, "-vvv", "--debug", "--diff", "--data", f"k3s_restore=staging/{snapshot}", **settings)
        assert result.code == 0, result.text
        assert seaweed.secret not in result.text
    restored = nodes(lab)
    assert (restored["lab-2"]["spec"].get("unschedulable"), len(ready(lab, 2))) == (True, 4)


@pytest.mark.long
def test_mistakes_are_refused_before_a_server_stops(cluster: Lab) -> None:
    before = saved(cluster, "refused")
    kubectl(cluster, "taint node lab-4 later=yes:NoSchedule-")
    unknown = restore(cluster, "--data", "k3s_restore=staging/etcd-of-last-year")
    assert f"no snapshot etcd-of-last-year; name one of these:\n    {before}  " in unknown.text
    some = restore(cluster, "--limit", cluster.hosts[0].address, "--data", f"k3s_restore=staging/{before}")
    assert f"--limit excludes {cluster.hosts[1].address}" in some.text
    assert {each.code for each in (unknown, some)} == {1}
    assert len(ready(cluster)) == 5
