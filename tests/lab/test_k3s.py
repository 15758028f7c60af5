"""deploys/k3s.py on real hosts, with a stand-in for K3s that is as strict as K3s in what a deploy can get wrong."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable

import pytest
import yaml

from deploys.lib.k3s.files import MANIFESTS
from tests.lab import network
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


def test_taints_and_labels_follow_group_data(cluster: Lab) -> None:
    for use in ("db", "web"):
        told = run(cluster, k3s_taints=[f"dedicated={use}:NoSchedule"], k3s_labels=[f"use={use}", "disk=ssd"])
        assert told.code == 0, told.text
        for node in nodes(cluster).values():
            assert node["spec"]["taints"] == [{"key": "dedicated", "value": use, "effect": "NoSchedule"}]
            assert node["metadata"]["labels"].items() >= {("use", use), ("disk", "ssd")}
    again = run(cluster)
    assert again.code == 0, again.text
    for node in nodes(cluster).values():
        assert not node["spec"]["taints"]
        assert not {"use", "disk"} & node["metadata"]["labels"].keys()


def test_a_namespace_goes_only_if_that_is_said(cluster: Lab) -> None:
    gone = run(cluster, k3s_namespaces=[])
    assert gone.code == 1
    assert "ada: no longer named, and so deleted with everything in it" in gone.text
    said = run(cluster, "--data", "k3s_drop_namespaces=ada", k3s_namespaces=[])
    assert said.code == 0, said.text
    assert "Namespace" not in cluster.ask(cluster.hosts[0], f"cat {MANIFESTS}")
    assert run(cluster).code == 0


def test_clusters_of_others_stay_in_a_kubeconfig_that_ours_is_merged_into(cluster: Lab) -> None:
    file = cluster.home / ".kube/config"
    theirs = {kind: [{"name": "theirs", kind[:-1]: {}}] for kind in ("clusters", "users", "contexts")}
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **theirs, "current-context": "theirs"}))
    file.chmod(0o644)
    told = run(cluster, k3s_kubeconfig_merge=True)
    assert (told.code, told.changes) == (0, 1), told.text
    both = yaml.safe_load(file.read_text())
    assert [one["name"] for one in both["clusters"]] == ["theirs", "staging"]
    assert both["current-context"] == "theirs"
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(cluster, k3s_kubeconfig_merge=True).changes == 0
    file.write_text("- no kubeconfig\n")
    assert f"{file} is no kubeconfig; move it away, or mend it" in run(cluster, k3s_kubeconfig_merge=True).text


PID = "systemctl show --property=MainPID k3s k3s-agent"
REGISTRIES = {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}


def test_a_run_that_is_killed_or_loses_a_host_before_the_restarts_is_made_good(cluster: Lab) -> None:
    second, gone, written = cluster.hosts[1], cluster.hosts[4], "cat /etc/rancher/k3s/registries.yaml"
    before, pids = cluster.ask(gone, written), [cluster.ask(host, PID) for host in (second, gone)]
    killed = begun(cluster, k3s_registries=REGISTRIES)
    while cluster.ask(gone, written) == before:
        assert killed.poll() is None, end(killed).text
    killed.kill()
    end(killed)

    left_alone = begun(cluster, k3s_registries=REGISTRIES)
    while cluster.ask(second, PID) == pids[0]:
        assert left_alone.poll() is None, end(left_alone).text
    with network.unplugged(gone.machine):
        told = end(left_alone)
    assert (told.code, "Traceback" in told.text) == (1, False), told.text
    assert f"[{gone.address}] Error" in told.text
    assert cluster.ask(gone, PID) == pids[1]

    good = run(cluster, k3s_registries=REGISTRIES)
    assert good.code == 0, good.text
    assert cluster.ask(gone, PID) != pids[1]
    assert len(ready(cluster)) == 5
    assert run(cluster, k3s_registries=REGISTRIES).changes == 0
    assert run(cluster).code == 0


def test_five_servers_join_one_after_the_other(fresh: Callable[..., Lab]) -> None:
    lab = fresh(5)
    first = run(lab, servers=5)
    assert first.code == 0, first.text
    assert ready(lab, server=4) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    began = [int(lab.ask(host, f'date --date="$({STARTED})" +%s')) for host in lab.hosts]
    assert began == sorted(began)
    assert run(lab, servers=5).changes == 0


STARTED = "systemctl show --property=ActiveEnterTimestamp --value k3s"


def test_a_token_is_made_and_kept_and_another_one_changes_nothing(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2)
    kept, ours = lab.home / ".config/groundcrew/staging.k3s-token", {"servers": 1, "k3s_token": {}}
    assert run(lab, "--dry", yes=False, **ours).code == 0
    assert not kept.exists()
    first = run(lab, **ours)
    assert first.code == 0, first.text
    assert (kept.stat().st_mode & 0o777, kept.read_text() in first.text) == (0o600, False)
    assert run(lab, **ours).changes == 0
    before = [lab.ask(host, f"{PID}; cat /etc/rancher/k3s/config.yaml") for host in lab.hosts]

    another = run(lab, servers=1)
    assert another.code == 1
    assert "the token of its cluster is not the one in k3s_token; it is in /var/lib/rancher/k3s/serv" in another.text
    token = kept.read_text()
    kept.unlink()
    unknown = run(lab, **ours)
    assert unknown.code == 1
    assert "the token of its cluster is not known to this machine; write it into k3s_token" in unknown.text
    assert not kept.exists()
    assert run(lab, servers=1, token=token.strip()).changes == 0
    assert [lab.ask(host, f"{PID}; cat /etc/rancher/k3s/config.yaml") for host in lab.hosts] == before


def test_a_node_that_is_refused_is_told_with_its_journal_and_can_be_put_right(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2)
    assert run(lab, servers=1).code == 0
    agent, password = lab.hosts[1], "/etc/rancher/node/password"
    lab.ask(agent, f"cp {password} /root/password && echo other > {password}")
    bad = run(lab, servers=1, k3s_wait=4, k3s_registries=REGISTRIES)
    assert bad.code == 1
    assert "node lab-2 is not ready after 4 s; its journal says:" in bad.text
    assert "Node password rejected" in bad.text
    lab.ask(agent, f"cp /root/password {password}")
    again = run(lab, servers=1, k3s_registries=REGISTRIES)
    assert again.code == 0, again.text
    assert ready(lab) == ["lab-1", "lab-2"]


def test_nothing_that_is_damaged_goes_live_neither_k3s_nor_its_images(fresh: Callable[..., Lab]) -> None:
    lab = fresh(1, 13)
    host, there = lab.hosts[0], f"/var/lib/rancher/k3s/agent/images/{IMAGES}"
    damaged = run(lab, servers=1, k3s_artefacts=str(release(lab, damaged="k3s")))
    assert damaged.code == 1
    assert "the checksum of k3s is not the one that its release tells; nothing was replaced" in damaged.text
    assert lab.ask(host, "ls -A /usr/local/bin") == ""
    images = run(lab, servers=1, k3s_airgap="tar.gz", k3s_artefacts=str(release(lab, damaged=f"{IMAGES}.tar.gz")))
    assert images.code == 1
    assert f"the checksum of {IMAGES}.tar.gz is not the one that its release tells" in images.text
    assert lab.ssh(host, "ls -A /var/lib/rancher/k3s/agent/images; systemctl is-active k3s").stdout == "inactive\n"
    with mirror(lab) as address:
        whole = run(lab, servers=1, k3s_airgap=True, k3s_artefacts=address)
    assert whole.code == 0, whole.text
    assert lab.ask(host, f"cat {there}.tar.zst") == f"images of {VERSION}, smaller"
    assert f"Importing images from {there}.tar.zst" in lab.ask(host, "journalctl --unit=k3s --output=cat")
    assert run(lab, servers=1, k3s_airgap=True).changes == 0
    wanted = newer(lab)
    other = run(lab, servers=1, k3s_version=wanted)
    assert other.code == 1
    assert (
        f"K3s {VERSION} is there, and {wanted} is wanted; this deploy does not upgrade: run deploys/k3s_upg"
        in other.text
    )
    upgraded = run(lab, of="k3s_upgrade", servers=1, k3s_airgap=True, k3s_version=wanted)
    assert upgraded.code == 0, upgraded.text
    assert lab.ask(host, f"cat {there}*") == f"images of {wanted}, smaller"
    assert run(lab, servers=1, k3s_airgap=True).changes == 0


def test_it_ends_at_once_with_a_sentence(cluster: Lab) -> None:
    even = run(cluster, servers=2)
    assert even.code == 1
    assert "have 1, 3 or 5" in even.text
    nobody = run(cluster, servers=0)
    assert nobody.code == 1
    assert "no hosts in its group k3s_servers" in nobody.text
