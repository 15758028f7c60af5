"""deploys/k3s.py on real hosts, with a stand-in for K3s that is as strict as K3s in what a deploy can get wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from pprint import pformat
from threading import Thread
from typing import Any

import pytest
import yaml

from tests.lab import commands
from tests.lab.lab import Lab
from tests.lab.pyinfra import Told, deploy

VERSION = "v1.33.5+k3s1"
STANDIN = Path(__file__).parent / "standins/k3s"
TOKEN = "t0ken-of-these-tests"


def release(lab: Lab, version: str = VERSION, *, damaged: bool = False) -> Path:
    """A folder with a release in it, as GitHub has it."""
    folder = lab.folder / ("damaged" if damaged else "releases")
    (folder / version).mkdir(parents=True, exist_ok=True)
    binary = STANDIN.read_text().replace("@VERSION@", version)
    digest = hashlib.sha256(binary.encode()).hexdigest()
    (folder / version / "k3s").write_text(binary + "# damage\n" * damaged)
    (folder / version / "sha256sum-amd64.txt").write_text(f"{'0' * 64}  k3s-airgap-images-amd64.tar\n{digest}  k3s\n")
    return folder


@contextmanager
def mirror(lab: Lab) -> Iterator[str]:
    """The releases, as a web server has them."""
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *told: None})
    gateway = commands.GATEWAY.format(lab=lab.number)
    with ThreadingHTTPServer((gateway, 0), partial(quiet, directory=str(release(lab)))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{gateway}:{server.server_port}"
        server.shutdown()


def run(lab: Lab, *told: str, servers: int = 3, token: str = TOKEN, **changed: Any) -> Told:
    """As a person types it, with the hosts of staging named by variables."""
    data = {
        "k3s_version": VERSION,
        "k3s_artefacts": str(release(lab)),
        "k3s_token": {"env": "CLUSTER_TOKEN"},
        "k3s_wait": 30,
        "k3s_snapshots": {"schedule": "0 */6 * * *", "keep": 28},
        "k3s_namespaces": [{"name": "ada", "cpu": 2, "memory": "4Gi"}],
        **changed,
    }
    folder = lab.folder / "data"
    folder.mkdir(exist_ok=True)
    (folder / "staging.py").write_text("".join(f"{name} = {pformat(value)}\n" for name, value in data.items()))
    addresses = [host.address for host in lab.hosts]
    hosts = {
        "STAGING_K3S_SERVERS": " ".join(addresses[:servers]),
        "STAGING_K3S_AGENTS": " ".join(addresses[servers:]),
        "CLUSTER_TOKEN": token,
    }
    return deploy(lab, "--group-data", str(folder), *told, "deploys/k3s.py", inventory="inventories/staging", **hosts)


def first_run(lab: Lab) -> None:
    told = run(lab, "-vvv", "--diff", "--debug")
    assert told.code == 0, told.text[-4000:]
    assert TOKEN not in told.text, "a secret shows in what pyinfra prints at its most talkative"


@pytest.fixture
def cluster(prepared: Callable[..., Lab]) -> Lab:
    return prepared("k3s", 5, first_run)


def nodes(lab: Lab, server: int = 0) -> dict[str, dict[str, Any]]:
    told = json.loads(lab.ask(lab.hosts[server], "k3s kubectl get nodes --output=json"))
    return {node["metadata"]["name"]: node for node in told["items"]}


def ready(lab: Lab) -> list[str]:
    return [
        name for name, node in nodes(lab).items() if {"type": "Ready", "status": "True"} in node["status"]["conditions"]
    ]


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


def test_a_run_that_died_before_the_restart_is_made_good(cluster: Lab) -> None:
    host = cluster.hosts[4]
    pid = cluster.ask(host, "systemctl show --property=MainPID k3s-agent")
    cluster.ask(host, "touch /etc/rancher/k3s/config.yaml")
    told = run(cluster)
    assert (told.code, told.changes) == (0, 1), told.text
    assert cluster.ask(host, "systemctl show --property=MainPID k3s-agent") != pid


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
    damaged = run(lab, servers=1, k3s_artefacts=str(release(lab, damaged=True)))
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


def test_it_ends_at_once_with_a_sentence(cluster: Lab) -> None:
    even = run(cluster, servers=2)
    assert even.code == 1
    assert "have 1, 3 or 5" in even.text
    nobody = run(cluster, servers=0)
    assert nobody.code == 1
    assert "no hosts in its group k3s_servers" in nobody.text
