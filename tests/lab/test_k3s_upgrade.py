"""deploys/k3s_upgrade.py on booted hosts, with a stand-in for K3s that drains, cordons and reports its version."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.lab import commands
from tests.lab.k3s import (
    TOKEN,
    begun,
    closed,
    closed_of,
    first_run,
    kubectl,
    newer,
    read,
    ready,
    release,
    run,
    running,
    versions,
)
from tests.lab.lab import Lab
from tests.lab.pyinfra import end

upgrade = partial(run, of="k3s_upgrade")
BROKEN = "/etc/rancher/k3s/config.yaml.d/broken.yaml"


@pytest.fixture
def cluster(prepared: Callable[..., Lab]) -> Lab:
    return prepared("k3s", 5, first_run)


@contextmanager
def recorded_cordons(lab: Lab, server: int) -> Iterator[list[set[str]]]:
    """Record which nodes are cordoned, ten times a second through one server, while that server runs."""
    poll = "while sleep 0.1; do k3s kubectl get nodes --output=json 2>/dev/null || true; done"
    cordons: list[set[str]] = []
    command, output = [*commands.ssh(lab.home, lab.hosts[server].address, "root"), poll], lab.folder / f"seen-{server}"
    with output.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL) as recorder:
        try:
            yield cordons
        finally:
            recorder.terminate()
    lines = [line for line in output.read_text().splitlines() if line.endswith("}")]
    cordons += [set(closed_of(read(line))) for line in lines]


@pytest.mark.long
def test_nodes_are_upgraded_one_at_a_time_and_the_second_run_changes_nothing(cluster: Lab) -> None:
    target = newer(cluster)
    dry = upgrade(cluster, "--dry", k3s_version=target, yes=False)
    assert dry.code == 0, dry.text
    for name, changes in (("Snapshot before", 1), (f"Upgrade {cluster.hosts[4].address} to", 1), ("Download K3s", 5)):
        assert re.search(rf"{re.escape(name)}.* {changes} \(", dry.text), dry.text
    assert versions(cluster) == {running(cluster)}
    with recorded_cordons(cluster, 1) as first, recorded_cordons(cluster, 2) as second:
        result = upgrade(cluster, "-vvv", "--debug", k3s_version=target)
    assert result.code == 0, result.text
    assert TOKEN not in result.text
    assert max(map(len, [*first, *second])) == 1
    assert {"lab-2"} in second
    turns = [next(iter(nodes)) for at, nodes in enumerate(first) if nodes and nodes != first[at - 1]]
    assert sorted(set(turns), key=turns.index) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    assert (versions(cluster), closed(cluster), len(ready(cluster))) == ({target}, [], 5)
    snapshots = cluster.ask(cluster.hosts[0], "k3s etcd-snapshot ls")
    assert f"before-{target.replace('+', '-')}-lab-1-" in snapshots
    for again in (upgrade(cluster), run(cluster)):
        assert (again.code, again.changes) == (0, 0), again.text


@pytest.mark.long
def test_the_next_run_continues_after_a_kill_a_broken_node_and_a_failed_drain(cluster: Lab) -> None:
    target, current = newer(cluster), running(cluster)
    kubectl(cluster, "cordon lab-2")
    hold = 'patch node %s --type=merge --patch=\'{"metadata": {"annotations": {"standin/disruption-budget": %s}}}\''
    kubectl(cluster, hold % ("lab-1", '"1"'))

    killed = begun(cluster, of="k3s_upgrade", k3s_version=target)
    while closed(cluster, server=2) == ["lab-2"]:
        assert killed.poll() is None, end(killed).text
    killed.kill()
    end(killed)
    kubectl(cluster, hold % ("lab-1", "null"))
    assert closed(cluster) == ["lab-1", "lab-2"]

    cluster.ask(cluster.hosts[3], f"mkdir --parents $(dirname {BROKEN}) && echo 'nonsense: 1' > {BROKEN}")
    broken = upgrade(cluster, k3s_version=target, k3s_wait=12)
    assert broken.code == 1, broken.text
    assert "node lab-4 is not ready after 12 s; fix what its journal says" in broken.text
    assert "flag provided but not defined: --nonsense" in broken.text
    assert "node lab-4 stays cordoned, and no later node was changed" in broken.text
    assert closed(cluster) == ["lab-2", "lab-4"]
    assert kubectl(cluster, "get nodes").count(current) == 2, "lab-4 still has the last version that ran"
    cluster.ask(cluster.hosts[3], f"rm {BROKEN}")

    kubectl(cluster, hold % ("lab-5", '"1"'))
    held = upgrade(cluster, k3s_version=target, k3s_drain=2, k3s_batch=2)
    assert held.code == 1, held.text
    assert "would violate the pod's disruption budget" in held.text
    assert "node lab-5 stays cordoned" in held.text
    assert "that a disruption budget keeps: --data k3s_drain_force=true" in held.text
    assert closed(cluster) == ["lab-2", "lab-5"]
    assert kubectl(cluster, "get nodes").count(current) == 1, "a node that was not drained does not restart"
    bare = 'patch node lab-5 --type=merge --patch=\'{"metadata": {"annotations": {"standin/bare-pod": %s}}}\''
    kubectl(cluster, bare % '"1"')

    next_run = upgrade(cluster, k3s_version=target, k3s_drain_force=True)
    kubectl(cluster, hold % ("lab-5", "null"))
    kubectl(cluster, bare % "null")
    assert next_run.code == 0, next_run.text
    assert closed(cluster) == ["lab-2"], "only the node that an admin cordoned stays cordoned"
    kubectl(cluster, "uncordon lab-2")
    assert (versions(cluster), len(ready(cluster))) == ({target}, 5)


@pytest.mark.long
def test_mistakes_are_refused_before_a_node_changes(cluster: Lab) -> None:
    target, current = newer(cluster), running(cluster)
    bad = upgrade(cluster, k3s_version=target, k3s_artefacts=str(release(cluster, target, damaged="k3s")))
    assert bad.code == 1, bad.text
    assert "the checksum of k3s is wrong, so nothing was replaced" in bad.text
    far = upgrade(cluster, k3s_version="v1.77.1+k3s1")
    assert far.code == 1, far.text
    assert f"runs {current}, so v1.77.1+k3s1 skips a minor version" in far.text
    some = upgrade(cluster, "--limit", cluster.hosts[4].address, k3s_version=target)
    assert some.code == 1, some.text
    assert f"--limit excludes {', '.join(host.address for host in cluster.hosts[:3])}" in some.text
    assert (versions(cluster), closed(cluster)) == ({current}, [])
