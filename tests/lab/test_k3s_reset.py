"""deploys/k3s_reset.py on booted hosts: removed nodes leave no trace, and etcd keeps its quorum."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import pytest

from tests.lab.k3s import first_run, left, nodes, ready, run
from tests.lab.lab import Lab
from tests.parts.patience import until

reset = partial(run, of="k3s_reset")
# Parts of a pod that outlive K3s: the shim, two mounts and the bridge.
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


@pytest.mark.long
def test_reset_hosts_have_no_trace_of_k3s_and_can_join_again(cluster: Lab) -> None:
    server, agent = cluster.hosts[2], cluster.hosts[4]
    cluster.ask(agent, POD)
    value = f"k3s_reset={agent.address},{server.address}"
    dry = reset(cluster, "--dry", "--data", value, yes=False)
    assert re.search(r"Uninstall K3s +2 \(", dry.text), dry.text
    assert len(ready(cluster)) == 5
    result = reset(cluster, "--data", value)
    assert result.code == 0, result.text
    assert sorted(nodes(cluster)) == ["lab-1", "lab-2", "lab-4"]
    assert (left(cluster, server), left(cluster, agent)) == ("", "")
    again = reset(cluster, "--data", value)
    assert (again.code, again.changes) == (0, 0), again.text
    back = run(cluster)
    assert back.code == 0, back.text
    assert ready(cluster) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]


@pytest.mark.long
def test_the_first_server_leaves_and_does_not_found_a_second_cluster(cluster: Lab) -> None:
    first = cluster.hosts[0].address
    result = reset(cluster, "--limit", first, "--data", f"k3s_reset={first}")
    assert result.code == 0, result.text
    assert sorted(nodes(cluster, server=1)) == ["lab-2", "lab-3", "lab-4", "lab-5"]
    refused = run(cluster, k3s_version=cluster.ask(cluster.hosts[1], "k3s --version").split()[2])
    assert refused.code == 1, refused.text
    assert f"put {cluster.hosts[1].address} before {first} to let it join" in refused.text
    for order in ((1, 2, 0), (0, 1, 2)):
        joined = run(cluster, servers=order, k3s_version=cluster.ask(cluster.hosts[1], "k3s --version").split()[2])
        assert joined.code == 0, joined.text
        assert len(ready(cluster)) == 5
    assert run(cluster).changes == 0


@pytest.mark.long
def test_a_reset_that_would_break_the_cluster_is_refused(cluster: Lab) -> None:
    one, _, three, agent, _ = (host.address for host in cluster.hosts)
    nothing = reset(cluster)
    assert "k3s_reset is missing; name the hosts to reset" in nothing.text
    assert "the whole cluster with all its data: --data k3s_reset=staging" in nothing.text
    limited = reset(cluster, "--limit", one, "--data", f"k3s_reset={agent}")
    assert f"--limit excludes {agent}" in limited.text
    cluster.ask(cluster.hosts[1], "systemctl stop k3s")
    try:
        until(lambda: "lab-2" not in ready(cluster), 60, saw=lambda: nodes(cluster))
        minority = reset(cluster, "--data", f"k3s_reset={three}")
    finally:
        cluster.ask(cluster.hosts[1], "systemctl start k3s")
    assert "etcd would lose its quorum without lab-3: of the 2 servers that stay, lab-2 is not ready" in minority.text
    assert {each.code for each in (nothing, limited, minority)} == {1}
    assert len(nodes(cluster)) == 5
