"""deploys/k3s_upgrade.py on real hosts, with a stand-in for K3s that drains, cordons and tells which version runs."""

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
def watched(lab: Lab, server: int) -> Iterator[list[set[str]]]:
    """Which nodes were closed, looked at several times a second through a server, while that one runs."""
    look = "while sleep 0.1; do k3s kubectl get nodes --output=json 2>/dev/null || true; done"
    seen: list[set[str]] = []
    told, printed = [*commands.ssh(lab.home, lab.hosts[server].address, "root"), look], lab.folder / f"seen-{server}"
    with printed.open("w") as into, subprocess.Popen(told, stdout=into, stderr=subprocess.DEVNULL) as watcher:
        try:
            yield seen
        finally:
            watcher.terminate()
    whole = [line for line in printed.read_text().splitlines() if line.endswith("}")]
    seen += [set(closed_of(read(line))) for line in whole]


def test_nodes_go_one_after_the_other_and_the_second_run_changes_nothing(cluster: Lab) -> None:
    wanted = newer(cluster)
    dry = upgrade(cluster, "--dry", k3s_version=wanted, yes=False)
    assert dry.code == 0, dry.text
    for name, changes in (("Snapshot before", 1), (f"{cluster.hosts[4].address}: {wanted}", 1), ("lies ready", 5)):
        assert re.search(rf"{re.escape(name)}.* {changes} \(", dry.text), dry.text
    assert versions(cluster) == {running(cluster)}
    with watched(cluster, 1) as seen, watched(cluster, 2) as meanwhile:
        told = upgrade(cluster, "-vvv", "--debug", k3s_version=wanted)
    assert told.code == 0, told.text
    assert TOKEN not in told.text
    assert max(map(len, [*seen, *meanwhile])) == 1
    assert {"lab-2"} in meanwhile
    turns = [next(iter(nodes)) for at, nodes in enumerate(seen) if nodes and nodes != seen[at - 1]]
    assert sorted(set(turns), key=turns.index) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    assert (versions(cluster), closed(cluster), len(ready(cluster))) == ({wanted}, [], 5)
    snapshots = cluster.ask(cluster.hosts[0], "k3s etcd-snapshot ls")
    assert f"before-{wanted.replace('+', '-')}-lab-1-" in snapshots
    for again in (upgrade(cluster), run(cluster)):
        assert (again.code, again.changes) == (0, 0), again.text


def test_whatever_ends_a_run_the_next_goes_on_from_there(cluster: Lab) -> None:
    wanted, there = newer(cluster), running(cluster)
    kubectl(cluster, "cordon lab-2")

    killed = begun(cluster, of="k3s_upgrade", k3s_version=wanted)
    while closed(cluster, server=2) == ["lab-2"]:
        assert killed.poll() is None, end(killed).text
    killed.kill()
    end(killed)
    assert closed(cluster) == ["lab-1", "lab-2"]

    cluster.ask(cluster.hosts[3], f"mkdir --parents $(dirname {BROKEN}) && echo 'nonsense: 1' > {BROKEN}")
    broken = upgrade(cluster, k3s_version=wanted, k3s_wait=12)
    assert broken.code == 1
    assert "node lab-4 is not ready after 12 s; its journal says:" in broken.text
    assert "flag provided but not defined: --nonsense" in broken.text
    assert "node lab-4 is left cordoned, and no node after it was touched" in broken.text
    assert closed(cluster) == ["lab-2", "lab-4"]
    assert kubectl(cluster, "get nodes").count(there) == 2, "lab-4 counts as what last ran there"
    cluster.ask(cluster.hosts[3], f"rm {BROKEN}")

    hold = 'patch node lab-5 --type=merge --patch=\'{"metadata": {"annotations": {"standin/disruption-budget": %s}}}\''
    kubectl(cluster, hold % '"1"')
    held = upgrade(cluster, k3s_version=wanted, k3s_drain=2, k3s_batch=2)
    assert held.code == 1
    assert "would violate the pod's disruption budget" in held.text
    assert "node lab-5 is left cordoned" in held.text
    assert closed(cluster) == ["lab-2", "lab-5"]
    assert kubectl(cluster, "get nodes").count(there) == 1, "what could not be emptied is not restarted"
    kubectl(cluster, hold % "null")

    good = upgrade(cluster, k3s_version=wanted)
    assert good.code == 0, good.text
    assert closed(cluster) == ["lab-2"], "what an admin has closed stays closed, and what we closed does not"
    kubectl(cluster, "uncordon lab-2")
    assert (versions(cluster), len(ready(cluster))) == ({wanted}, 5)


def test_it_refuses_before_it_touches_a_node(cluster: Lab) -> None:
    damaged, there = newer(cluster), running(cluster)
    bad = upgrade(cluster, k3s_version=damaged, k3s_artefacts=str(release(cluster, damaged, damaged="k3s")))
    assert bad.code == 1
    assert "the checksum of k3s is not the one that its release tells" in bad.text
    far = upgrade(cluster, k3s_version="v1.77.1+k3s1")
    assert far.code == 1
    assert f"runs {there}, and v1.77.1+k3s1 skips a minor version" in far.text
    some = upgrade(cluster, "--limit", cluster.hosts[4].address, k3s_version=damaged)
    assert some.code == 1
    assert f"--limit leaves out {', '.join(host.address for host in cluster.hosts[:3])}" in some.text
    assert (versions(cluster), closed(cluster)) == ({there}, [])
