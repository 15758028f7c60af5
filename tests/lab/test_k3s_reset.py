"""deploys/k3s_reset.py on real hosts: what goes is forgotten, what stays keeps its majority."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.lab.k3s import first_run, left, nodes, ready, run
from tests.lab.lab import Lab

reset = partial(run, of="k3s_reset")
# A pod that outlives K3s: its shim, what it has mounted, its bridge.
POD = (
    "mkdir --parents /var/lib/rancher/k3s/data/x/bin /run/k3s/sandbox /var/lib/kubelet/pods/p/volume && "
    "cp /bin/sleep /var/lib/rancher/k3s/data/x/bin/containerd-shim-runc-v2 && "
    "mount -t tmpfs tmpfs /run/k3s/sandbox && mount -t tmpfs tmpfs /var/lib/kubelet/pods/p/volume && "
    "ip link add cni0 type bridge && "
    "{ setsid /var/lib/rancher/k3s/data/x/bin/containerd-shim-runc-v2 1000 >/dev/null 2>&1 </dev/null & }"
)


@pytest.fixture
def cluster(prepared: Callable[..., Lab]) -> Lab:
    return prepared("k3s", 5, first_run)


def test_nodes_go_without_a_trace_and_can_join_again(cluster: Lab) -> None:
    server, agent = cluster.hosts[2], cluster.hosts[4]
    cluster.ask(agent, POD)
    named = f"k3s_reset={agent.address},{server.address}"
    dry = reset(cluster, "--dry", "--data", named, yes=False)
    assert re.search(r"Nothing of K3s is left +2 \(", dry.text), dry.text
    assert len(ready(cluster)) == 5
    told = reset(cluster, "--data", named)
    assert told.code == 0, told.text
    assert sorted(nodes(cluster)) == ["lab-1", "lab-2", "lab-4"]
    assert (left(cluster, server), left(cluster, agent)) == ("", "")
    again = reset(cluster, "--data", named)
    assert (again.code, again.changes) == (0, 0), again.text
    back = run(cluster)
    assert back.code == 0, back.text
    assert ready(cluster) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]


def test_the_first_server_goes_and_founds_no_second_cluster(cluster: Lab) -> None:
    first = cluster.hosts[0].address
    told = reset(cluster, "--limit", first, "--data", f"k3s_reset={first}")
    assert told.code == 0, told.text
    assert sorted(nodes(cluster, server=1)) == ["lab-2", "lab-3", "lab-4", "lab-5"]
    refused = run(cluster, k3s_version=cluster.ask(cluster.hosts[1], "k3s --version").split()[2])
    assert refused.code == 1
    assert f"name {cluster.hosts[1].address} before it in k3s_servers" in refused.text
    for order in ((1, 2, 0), (0, 1, 2)):
        joined = run(cluster, servers=order, k3s_version=cluster.ask(cluster.hosts[1], "k3s --version").split()[2])
        assert joined.code == 0, joined.text
        assert len(ready(cluster)) == 5
    assert run(cluster).changes == 0


def test_it_refuses_what_would_break_the_cluster(cluster: Lab) -> None:
    one, _, three, agent, _ = (host.address for host in cluster.hosts)
    nothing = reset(cluster)
    assert "nothing was named that is to go" in nothing.text
    assert "the whole cluster with all that is in it: --data k3s_reset=staging" in nothing.text
    limited = reset(cluster, "--limit", one, "--data", f"k3s_reset={agent}")
    assert f"--limit leaves out {agent}" in limited.text
    cluster.ask(cluster.hosts[1], "systemctl stop k3s")
    try:
        while "lab-2" in ready(cluster):
            time.sleep(0.3)
        minority = reset(cluster, "--data", f"k3s_reset={three}")
    finally:
        cluster.ask(cluster.hosts[1], "systemctl start k3s")
    assert "without lab-3 etcd has no majority: of 2 servers that stay, lab-2 is not ready" in minority.text
    assert {each.code for each in (nothing, limited, minority)} == {1}
    assert len(nodes(cluster)) == 5
