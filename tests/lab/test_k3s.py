"""deploys/k3s.py on booted hosts, with a stand-in for K3s that rejects what K3s rejects."""

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


def test_five_nodes_become_ready_and_the_second_run_changes_and_restarts_nothing(cluster: Lab) -> None:
    assert ready(cluster) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    state = "systemctl show --property=MainPID,NRestarts k3s k3s-agent"
    before = [cluster.ask(host, state) for host in cluster.hosts]
    result = run(cluster)
    assert (result.code, result.changes) == (0, 0), result.text
    assert [cluster.ask(host, state) for host in cluster.hosts] == before


def test_only_root_can_read_the_token(cluster: Lab) -> None:
    for host in cluster.hosts:
        assert cluster.ask(host, "stat --format='%a %U' /etc/rancher/k3s/config.yaml") == "600 root"
        assert TOKEN not in cluster.ask(host, "ps -e -o args; systemctl cat 'k3s*'")
    config = cluster.ask(cluster.hosts[0], "cat /etc/rancher/k3s/config.yaml")
    assert yaml.safe_load(config) == {
        "token": TOKEN,
        "node-name": "lab-1",
        "cluster-init": True,
        "tls-san": [host.address for host in cluster.hosts[:3]],
        "write-kubeconfig-mode": "0600",
        "etcd-snapshot-schedule-cron": "0 */6 * * *",
        "etcd-snapshot-retention": 28,
    }


def test_the_kubeconfig_reaches_the_cluster(cluster: Lab) -> None:
    file = cluster.home / ".kube/staging.yaml"
    assert file.stat().st_mode & 0o777 == 0o600
    kubeconfig = yaml.safe_load(file.read_text())
    address = cluster.hosts[0].address
    assert kubeconfig["clusters"][0]["cluster"]["server"] == f"https://{address}:6443"
    assert {
        kubeconfig["current-context"],
        *(kubeconfig[kind][0]["name"] for kind in ("clusters", "users", "contexts")),
    } == {"staging"}
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with socket.create_connection((address, 6443)) as plain, context.wrap_socket(plain, server_hostname=address):
        pass


@pytest.mark.long
def test_taints_and_labels_follow_group_data(cluster: Lab) -> None:
    for use in ("db", "web"):
        result = run(cluster, k3s_taints=[f"dedicated={use}:NoSchedule"], k3s_labels=[f"use={use}", "disk=ssd"])
        assert result.code == 0, result.text
        for node in nodes(cluster).values():
            assert node["spec"]["taints"] == [{"key": "dedicated", "value": use, "effect": "NoSchedule"}]
            assert node["metadata"]["labels"].items() >= {("use", use), ("disk", "ssd")}
    again = run(cluster)
    assert again.code == 0, again.text
    for node in nodes(cluster).values():
        assert not node["spec"]["taints"]
        assert not {"use", "disk"} & node["metadata"]["labels"].keys()


@pytest.mark.long
def test_deleting_a_namespace_needs_confirmation(cluster: Lab) -> None:
    refused = run(cluster, k3s_namespaces=[])
    assert refused.code == 1, refused.text
    assert "ada is no longer listed, so K3s would delete it with all in it" in refused.text
    confirmed = run(cluster, "--data", "k3s_drop_namespaces=ada", k3s_namespaces=[])
    assert confirmed.code == 0, confirmed.text
    assert "Namespace" not in cluster.ask(cluster.hosts[0], f"cat {MANIFESTS}")
    assert run(cluster).code == 0


@pytest.mark.long
def test_a_merged_kubeconfig_keeps_other_clusters(cluster: Lab) -> None:
    file = cluster.home / ".kube/config"
    theirs = {kind: [{"name": "theirs", kind[:-1]: {}}] for kind in ("clusters", "users", "contexts")}
    file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **theirs, "current-context": "theirs"}))
    file.chmod(0o644)
    result = run(cluster, k3s_kubeconfig_merge=True)
    assert (result.code, result.changes) == (0, 1), result.text
    merged = yaml.safe_load(file.read_text())
    assert [entry["name"] for entry in merged["clusters"]] == ["theirs", "staging"]
    assert merged["current-context"] == "theirs"
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(cluster, k3s_kubeconfig_merge=True).changes == 0
    file.write_text("- a list\n")
    invalid = run(cluster, k3s_kubeconfig_merge=True)
    assert f"{file} is not a kubeconfig; correct it, or move it away" in invalid.text


PID = "systemctl show --property=MainPID k3s k3s-agent"
REGISTRIES = {"mirrors": {"docker.io": {"endpoint": ["https://mirror.example"]}}}


@pytest.mark.long
def test_the_next_run_completes_one_that_was_killed_or_lost_a_host(cluster: Lab) -> None:
    second, last, show_registries = cluster.hosts[1], cluster.hosts[4], "cat /etc/rancher/k3s/registries.yaml"
    before, pids = cluster.ask(last, show_registries), [cluster.ask(host, PID) for host in (second, last)]
    killed = begun(cluster, k3s_registries=REGISTRIES)
    while cluster.ask(last, show_registries) == before:
        assert killed.poll() is None, end(killed).text
    killed.kill()
    end(killed)

    cut_off = begun(cluster, k3s_registries=REGISTRIES)
    while cluster.ask(second, PID) == pids[0]:
        assert cut_off.poll() is None, end(cut_off).text
    with network.unplugged(last.machine):
        result = end(cut_off)
    assert result.code == 1, result.text
    assert "Traceback" not in result.text
    assert f"[{last.address}] Error" in result.text
    assert cluster.ask(last, PID) == pids[1]

    next_run = run(cluster, k3s_registries=REGISTRIES)
    assert next_run.code == 0, next_run.text
    assert cluster.ask(last, PID) != pids[1]
    assert len(ready(cluster)) == 5
    assert run(cluster, k3s_registries=REGISTRIES).changes == 0
    assert run(cluster).code == 0


@pytest.mark.long
def test_five_servers_join_one_at_a_time(fresh: Callable[..., Lab]) -> None:
    lab = fresh(5, 13)
    first = run(lab, servers=5)
    assert first.code == 0, first.text
    assert ready(lab, server=4) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    started = [int(lab.ask(host, f'date --date="$({STARTED})" +%s')) for host in lab.hosts]
    assert started == sorted(started)
    assert run(lab, servers=5).changes == 0


STARTED = "systemctl show --property=ActiveEnterTimestamp --value k3s"


@pytest.mark.long
def test_a_new_token_is_saved_and_a_different_one_changes_nothing(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2, 13)
    token_file, generated = lab.home / ".config/groundcrew/staging.k3s-token", {"servers": 1, "k3s_token": {}}
    assert run(lab, "--dry", yes=False, **generated).code == 0
    assert not token_file.exists()
    first = run(lab, **generated)
    assert first.code == 0, first.text
    assert token_file.stat().st_mode & 0o777 == 0o600
    assert token_file.read_text() not in first.text
    assert run(lab, **generated).changes == 0
    before = [lab.ask(host, f"{PID}; cat /etc/rancher/k3s/config.yaml") for host in lab.hosts]

    another = run(lab, servers=1)
    assert another.code == 1, another.text
    assert "the token of its cluster differs from the one in k3s_token; set k3s_token to" in another.text
    token = token_file.read_text()
    token_file.unlink()
    unknown = run(lab, **generated)
    assert unknown.code == 1, unknown.text
    assert "the token of its cluster is not on your machine; set k3s_token to" in unknown.text
    assert not token_file.exists()
    assert run(lab, servers=1, token=token.strip()).changes == 0
    assert [lab.ask(host, f"{PID}; cat /etc/rancher/k3s/config.yaml") for host in lab.hosts] == before


@pytest.mark.long
def test_a_refused_node_fails_with_its_journal_and_can_be_repaired(fresh: Callable[..., Lab]) -> None:
    lab = fresh(2)
    assert run(lab, servers=1).code == 0
    agent, password = lab.hosts[1], "/etc/rancher/node/password"
    lab.ask(agent, f"cp {password} /root/password && echo other > {password}")
    refused = run(lab, servers=1, k3s_wait=4, k3s_registries=REGISTRIES)
    assert refused.code == 1, refused.text
    assert "node lab-2 is not ready after 4 s; fix what its journal says" in refused.text
    assert "Node password rejected" in refused.text
    lab.ask(agent, f"cp /root/password {password}")
    again = run(lab, servers=1, k3s_registries=REGISTRIES)
    assert again.code == 0, again.text
    assert ready(lab) == ["lab-1", "lab-2"]


@pytest.mark.long
def test_damaged_downloads_are_never_installed(fresh: Callable[..., Lab]) -> None:
    lab = fresh(1, 13)
    host, images_path = lab.hosts[0], f"/var/lib/rancher/k3s/agent/images/{IMAGES}"
    damaged = run(lab, servers=1, k3s_artefacts=str(release(lab, damaged="k3s")))
    assert damaged.code == 1, damaged.text
    assert "the checksum of k3s is wrong, so nothing was replaced" in damaged.text
    assert lab.ask(host, "ls -A /usr/local/bin") == ""
    images = run(lab, servers=1, k3s_airgap="tar.gz", k3s_artefacts=str(release(lab, damaged=f"{IMAGES}.tar.gz")))
    assert images.code == 1, images.text
    assert f"the checksum of {IMAGES}.tar.gz is wrong, so nothing was replaced" in images.text
    assert lab.ssh(host, "ls -A /var/lib/rancher/k3s/agent/images; systemctl is-active k3s").stdout == "inactive\n"
    with mirror(lab) as address:
        whole = run(lab, servers=1, k3s_airgap=True, k3s_artefacts=address)
    assert whole.code == 0, whole.text
    assert lab.ask(host, f"cat {images_path}.tar.zst") == f"images of {VERSION}, smaller"
    assert f"Importing images from {images_path}.tar.zst" in lab.ask(host, "journalctl --unit=k3s --output=cat")
    assert run(lab, servers=1, k3s_airgap=True).changes == 0
    target = newer(lab)
    other = run(lab, servers=1, k3s_version=target)
    assert other.code == 1, other.text
    assert f"K3s {VERSION} is installed and k3s_version is {target}, but k3s.py does not upgrade" in other.text
    upgraded = run(lab, of="k3s_upgrade", servers=1, k3s_airgap=True, k3s_version=target)
    assert upgraded.code == 0, upgraded.text
    assert lab.ask(host, f"cat {images_path}*") == f"images of {target}, smaller"
    assert run(lab, servers=1, k3s_airgap=True).changes == 0


def test_mistakes_in_the_inventory_stop_it_with_a_message(cluster: Lab) -> None:
    even = run(cluster, servers=2)
    assert even.code == 1, even.text
    assert "use 1, 3 or 5" in even.text
    none = run(cluster, servers=0)
    assert none.code == 1, none.text
    assert "no hosts in the group k3s_servers" in none.text
