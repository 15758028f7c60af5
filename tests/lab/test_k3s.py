"""deploys/k3s.py on real hosts, with a stand-in for K3s that is as strict as K3s in what a deploy can get wrong."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from subprocess import Popen
from typing import Any

import pytest
import yaml

from tests.lab import network
from tests.lab.hosts import Host
from tests.lab.k3s import IMAGES, TOKEN, VERSION, begun, first_run, mirror, newer, nodes, ready, release, run
from tests.lab.lab import Lab
from tests.lab.pyinfra import end


@pytest.fixture
def cluster(prepared: Callable[..., Lab]) -> Lab:
    return prepared("k3s", 5, first_run)


def test_five_nodes_come_up_and_the_second_run_changes_and_restarts_nothing(cluster: Lab) -> None:
    assert ready(cluster) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    asked = "systemctl show --property=MainPID,NRestarts k3s k3s-agent"
    before = [cluster.ask(host, asked) for host in cluster.hosts]
    told = run(cluster)
    assert (told.code, told.changes) == (0, 0), told.text
    assert [cluster.ask(host, asked) for host in cluster.hosts] == before


def test_what_holds_a_secret_is_for_root_alone(cluster: Lab) -> None:
    for host in cluster.hosts:
        assert cluster.ask(host, "stat --format='%a %U' /etc/rancher/k3s/config.yaml") == "600 root"
        assert TOKEN not in cluster.ask(host, "ps -e -o args; systemctl cat 'k3s*'")
    told = cluster.ask(cluster.hosts[0], "cat /etc/rancher/k3s/config.yaml")
    assert yaml.safe_load(told) == {
        "token": TOKEN,
        "node-name": "lab-1",
        "cluster-init": True,
        "tls-san": [host.address for host in cluster.hosts[:3]],
        "write-kubeconfig-mode": "0600",
        "etcd-snapshot-schedule-cron": "0 */6 * * *",
        "etcd-snapshot-retention": 28,
    }


def test_the_kubeconfig_leads_to_the_cluster(cluster: Lab) -> None:
    file = cluster.home / ".kube/staging.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    told = yaml.safe_load(file.read_text())
    address = cluster.hosts[0].address
    assert told["clusters"][0]["cluster"]["server"] == f"https://{address}:6443"
    assert {told["current-context"], *(told[kind][0]["name"] for kind in ("clusters", "users", "contexts"))} == {
        "staging"
    }
    authority = base64.b64decode(told["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with socket.create_connection((address, 6443)) as plain, context.wrap_socket(plain, server_hostname=address):
        pass


def test_taints_follow_group_data(cluster: Lab) -> None:
    told = run(cluster, k3s_taints=["dedicated=db:NoSchedule"])
    assert told.code == 0, told.text
    assert all(node["spec"]["taints"] for node in nodes(cluster).values())
    again = run(cluster)
    assert again.code == 0, again.text
    assert not any(node["spec"]["taints"] for node in nodes(cluster).values())


REGISTRIES = {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}


def begun_until_it_wrote(lab: Lab, host: Host, **changed: Any) -> Popen[str]:
    """A run that has just written a host's registries, and has not restarted K3s there."""
    written = "cat /etc/rancher/k3s/registries.yaml"
    before, running = lab.ask(host, written), begun(lab, **changed)
    while lab.ask(host, written) == before:
        assert running.poll() is None, end(running).text
    return running


def test_a_run_that_was_killed_before_the_restart_is_made_good(cluster: Lab) -> None:
    host, asked = cluster.hosts[4], "systemctl show --property=MainPID k3s-agent"
    pid = cluster.ask(host, asked)
    running = begun_until_it_wrote(cluster, host, k3s_registries=REGISTRIES)
    running.kill()
    end(running)
    assert cluster.ask(host, asked) == pid
    told = run(cluster, k3s_registries=REGISTRIES)
    assert told.code == 0, told.text
    assert cluster.ask(host, asked) != pid
    assert len(ready(cluster)) == 5
    assert run(cluster, k3s_registries=REGISTRIES).changes == 0
    assert run(cluster).code == 0


def test_a_host_that_vanishes_ends_the_run_and_the_next_one_ends_right(cluster: Lab) -> None:
    gone = cluster.hosts[4]
    running = begun_until_it_wrote(cluster, gone, k3s_registries=REGISTRIES)
    with network.unplugged(gone.machine):
        told = end(running)
    assert (told.code, "Traceback" in told.text) == (1, False), told.text
    assert f"[{gone.address}] Error" in told.text
    assert "Over 0% of hosts failed" in told.text
    again = run(cluster, k3s_registries=REGISTRIES)
    assert again.code == 0, again.text
    assert len(ready(cluster)) == 5
    assert run(cluster, k3s_registries=REGISTRIES).changes == 0
    assert run(cluster).code == 0


def test_images_for_hosts_without_internet_lie_there_before_k3s_starts(fresh: Callable[..., Lab]) -> None:
    lab = fresh(1, 13)
    there = f"cat /var/lib/rancher/k3s/agent/images/{IMAGES}"
    bad = run(lab, servers=1, k3s_airgap="tar.gz", k3s_artefacts=str(release(lab, damaged=f"{IMAGES}.tar.gz")))
    assert bad.code == 1
    assert f"the checksum of {IMAGES}.tar.gz is not the one that its release tells" in bad.text
    assert (
        lab.ssh(lab.hosts[0], "ls -A /var/lib/rancher/k3s/agent/images; systemctl is-active k3s").stdout == "inactive\n"
    )
    good = run(lab, servers=1, k3s_airgap=True)
    assert good.code == 0, good.text
    assert lab.ask(lab.hosts[0], f"{there}.tar.zst") == f"images of {VERSION}, smaller"
    assert f"Importing images from /var/lib/rancher/k3s/agent/images/{IMAGES}.tar.zst" in lab.ask(
        lab.hosts[0], "journalctl --unit=k3s --output=cat"
    )
    assert run(lab, servers=1, k3s_airgap=True).changes == 0
    wanted = newer(lab)
    upgraded = run(lab, of="k3s_upgrade", servers=1, k3s_airgap=True, k3s_version=wanted)
    assert upgraded.code == 0, upgraded.text
    assert lab.ask(lab.hosts[0], f"{there}*") == f"images of {wanted}, smaller"
    assert run(lab, servers=1, k3s_airgap=True).changes == 0


def test_a_wrong_token_is_told_with_the_journal_and_can_be_put_right(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2)
    assert run(lab, servers=1).code == 0
    bad = run(lab, servers=1, token="another", k3s_wait=4)
    assert bad.code == 1
    assert "node lab-1 is not ready after 4 s; its journal says:" in bad.text
    assert "encrypted with different token" in bad.text
    again = run(lab, servers=1)
    assert again.code == 0, again.text
    assert ready(lab) == ["lab-1", "lab-2"]


def test_a_damaged_download_never_goes_live(fresh: Callable[..., Lab]) -> None:
    lab = fresh(1, 13)
    damaged = run(lab, servers=1, k3s_artefacts=str(release(lab, damaged="k3s")))
    assert damaged.code == 1
    assert "the checksum of k3s is not the one that its release tells; nothing was replaced" in damaged.text
    assert lab.ask(lab.hosts[0], "ls -A /usr/local/bin") == ""
    with mirror(lab) as address:
        whole = run(lab, servers=1, k3s_artefacts=address)
    assert whole.code == 0, whole.text
    assert run(lab, servers=1).changes == 0
    newer = run(lab, servers=1, k3s_version="v1.34.1+k3s1")
    assert newer.code == 1
    assert f"K3s {VERSION} is there, and v1.34.1+k3s1 is wanted" in newer.text
    assert "run deploys/k3s_upgrade.py" in newer.text


def test_it_ends_at_once_with_a_sentence(cluster: Lab) -> None:
    even = run(cluster, servers=2)
    assert even.code == 1
    assert "have 1, 3 or 5" in even.text
    nobody = run(cluster, servers=0)
    assert nobody.code == 1
    assert "no hosts in its group k3s_servers" in nobody.text
