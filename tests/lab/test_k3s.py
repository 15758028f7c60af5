"""deploys/k3s.py on booted hosts, with a stand-in for K3s that rejects what K3s rejects."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from subprocess import CompletedProcess
from threading import Thread

import pytest
import yaml

from deploys.lib.k3s.namespaces import OLD_MANIFEST
from deploys.lib.k3s.node_config import derived_agent_token
from tests.lab import commands, network
from tests.lab.hosts import Host
from tests.lab.k3s import (
    IMAGES,
    TOKEN,
    VERSION,
    begun,
    first_run,
    inventory_of,
    kubectl,
    left,
    mirror,
    newer,
    nodes,
    ready,
    release,
    run,
)
from tests.lab.lab import Lab
from tests.lab.pyinfra import ROOT, end, inherited
from tests.parts.patience import until


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
    for agent in cluster.hosts[3:]:
        config = cluster.ask(agent, "cat /etc/rancher/k3s/config.yaml")
        assert yaml.safe_load(config)["token"] == derived_agent_token(TOKEN)
        assert TOKEN not in config, "with it, who reads an agent's disk is an admin of the cluster"
    config = cluster.ask(cluster.hosts[0], "cat /etc/rancher/k3s/config.yaml")
    assert yaml.safe_load(config) == {
        "token": TOKEN,
        "agent-token": derived_agent_token(TOKEN),
        "node-name": "lab-1",
        "cluster-init": True,
        "tls-san": [host.address for host in cluster.hosts[:3]],
        "write-kubeconfig-mode": "0600",
        "etcd-snapshot-schedule-cron": "0 */6 * * *",
        "etcd-snapshot-retention": 28,
    }


def test_the_kubeconfig_reaches_the_cluster(cluster: Lab) -> None:
    address = cluster.hosts[0].address
    assert (cluster.home / ".kube/staging.yaml").stat().st_mode & 0o777 == 0o600
    assert connect(cluster, address) == f"https://{address}:6443"


def connect(lab: Lab, name: str) -> str:
    """Check that the first server's certificate has a name, with the kubeconfig's authority; return its address."""
    kubeconfig = yaml.safe_load((lab.home / ".kube/staging.yaml").read_text())
    assert {
        kubeconfig["current-context"],
        *(kubeconfig[kind][0]["name"] for kind in ("clusters", "users", "contexts")),
    } == {"staging"}
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default since Python 3.13
    with (
        socket.create_connection((lab.hosts[0].address, 6443)) as plain,
        context.wrap_socket(plain, server_hostname=name),
    ):
        return str(kubeconfig["clusters"][0]["cluster"]["server"])


def test_someone_gets_a_certificate_that_the_cluster_signs(cluster: Lab) -> None:
    server = cluster.hosts[0]
    login = shlex.join(commands.ssh(cluster.home, server.address, "root")[1:-1])
    ssh = cluster.folder / "bin/ssh"
    ssh.parent.mkdir(exist_ok=True)
    ssh.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} {login} "$@"\n')
    ssh.chmod(0o755)
    options = ["--ssh", f"root@{server.address}", "--server", server.address, "--json"]
    variables = {**inherited(), "PATH": f"{ssh.parent}:{os.environ['PATH']}"}

    def run_crew(person: str) -> CompletedProcess[str]:
        command = [Path(sys.executable).with_name("crew"), "kubeconfig", "staging", person, *options]
        return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run_crew("ada")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["roles"] == {"ada": ["edit"]}
    config = json.loads(document["kubeconfig"])
    assert config["clusters"][0]["cluster"]["server"] == f"https://{server.address}:6443"
    certificate = base64.b64decode(config["users"][0]["user"]["client-certificate-data"]).decode()
    verify = "openssl verify -purpose sslclient -CAfile /var/lib/rancher/k3s/server/tls/client-ca.crt"
    assert cluster.ask(server, f"echo '{certificate}' | {verify}") == "stdin: OK"
    assert "no binding names the user eve" in json.loads(run_crew("eve").stdout)["error"]


def test_hosts_of_the_stack_are_the_same_cluster(cluster: Lab) -> None:
    """docs/stacks.md has the command. Terraform is a script that prints the stack's output."""
    hosts = [
        {"name": f"acme-staging-{host.name}", "ssh_hostname": host.address, "environment": "staging"}
        for host in cluster.hosts
    ]
    output = {"pyinfra_inventory": {"value": {"k3s_servers": hosts[:3], "k3s_agents": hosts[3:]}}}
    program = cluster.folder / "bin/terraform"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ntest \"$*\" = 'output -json' && echo '{json.dumps(output)}'\n")
    program.chmod(0o755)
    command = re.search(r"pyinfra (--config .*k3s\.py)", (ROOT / "docs/stacks.md").read_text())
    assert command
    result = run(
        cluster,
        inventory=command[1],
        cwd=ROOT / "terraform/stacks/cluster",
        PATH=f"{program.parent}:{os.environ['PATH']}",
    )
    assert (result.code, result.changes) == (0, 0), result.text


@pytest.mark.long
def test_taints_and_labels_follow_group_data(cluster: Lab) -> None:
    role = "node-role.kubernetes.io/db"  # the kubelet refuses it in its own configuration
    for use in ("db", "web"):
        labels = [f"use={use}", "disk=ssd", f"{role}=true"]
        result = run(cluster, k3s_taints=[f"dedicated={use}:NoSchedule"], k3s_labels=labels)
        assert result.code == 0, result.text
        for node in nodes(cluster).values():
            assert node["spec"]["taints"] == [{"key": "dedicated", "value": use, "effect": "NoSchedule"}]
            assert node["metadata"]["labels"].items() >= {("use", use), ("disk", "ssd"), (role, "true")}
    again = run(cluster)
    assert again.code == 0, again.text
    for node in nodes(cluster).values():
        assert not node["spec"]["taints"]
        assert not {"use", "disk", role} & node["metadata"]["labels"].keys()


@pytest.mark.long
def test_a_namespace_is_deleted_only_if_a_run_says_so(cluster: Lab) -> None:
    second = cluster.hosts[1]
    stale = json.dumps({"apiVersion": "v1", "kind": "List", "items": []})
    cluster.ask(second, f"mkdir --parents $(dirname {OLD_MANIFEST}) && echo '{stale}' > {OLD_MANIFEST}")
    unlisted = run(cluster, k3s_namespaces=[{"name": "bob"}])
    assert unlisted.code == 0, unlisted.text
    assert "k3s_namespaces does not list ada" in unlisted.text
    assert namespaces(cluster) == ["ada", "bob"]
    cluster.ask(second, f"test ! -e {OLD_MANIFEST} && systemctl restart k3s")

    kubectl(cluster, "delete namespace bob")
    again = run(cluster, k3s_namespaces=[{"name": "bob"}])
    assert (again.code, again.changes) == (0, 1), again.text
    refused = run(cluster, k3s_namespaces=[{"name": "No_Name"}])
    assert refused.code == 1, refused.text
    assert 'The Namespace "No_Name" is invalid' in refused.text
    listed = run(cluster, "--data", "k3s_drop_namespaces=ada")
    assert "k3s_namespaces still lists ada; remove it there first" in listed.text
    confirmed = run(cluster, "--data", "k3s_drop_namespaces=ada,bob", k3s_namespaces=[])
    assert (confirmed.code, confirmed.changes) == (0, 1), confirmed.text
    assert namespaces(cluster) == []
    assert run(cluster).code == 0


def namespaces(lab: Lab) -> list[str]:
    return [line.removeprefix("namespace/") for line in kubectl(lab, "get namespaces").splitlines()]


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
def test_five_servers_join_one_at_a_time_over_their_private_network(fresh: Callable[..., Lab]) -> None:
    lab = fresh(5, 13)
    addresses = [private_address(lab, host) for host in lab.hosts]
    hosts = [(host.address, {"k3s_address": own}) for host, own in zip(lab.hosts, addresses, strict=True)]
    watch_ports_of_the_cluster(lab)
    with entrance(lab) as (registration, connections):
        settings = {"k3s_endpoint": "k3s.acme.example", "k3s_registration": registration}
        first = run(lab, inventory=inventory_of(lab, hosts), servers=5, **settings)
        assert first.code == 0, first.text
        assert run(lab, inventory=inventory_of(lab, hosts), servers=5, **settings).changes == 0
    packets = [ports_of_the_cluster(lab, host) for host in lab.hosts]
    assert all(private > 0 and others == 0 for private, others in packets), packets
    listen = "systemd-run --quiet --unit=kubelet-port python3 -m http.server 10250"
    lab.ask(lab.hosts[0], listen)
    get = "curl --silent --output /dev/null --max-time 3 http://{}:10250 && echo reached || echo closed"
    until(lambda: lab.ask(lab.hosts[1], get.format(addresses[0])) == "reached")
    with pytest.raises(OSError, match="timed out"):
        socket.create_connection((lab.hosts[0].address, 10250), timeout=3)
    assert len(connections) >= 4, "four servers joined through it"
    assert ready(lab, server=4) == ["lab-1", "lab-2", "lab-3", "lab-4", "lab-5"]
    started = [int(lab.ask(host, f'date --date="$({STARTED})" +%s')) for host in lab.hosts]
    assert started == sorted(started)
    members = nodes(lab).values()
    assert [node["status"]["addresses"][0]["address"] for node in members] == addresses
    assert [node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] for node in members] == addresses
    assert connect(lab, "k3s.acme.example") == "https://k3s.acme.example:6443"
    reset = run(
        lab, "--data", "k3s_reset=staging", of="k3s_reset", inventory=inventory_of(lab, hosts), servers=5, **settings
    )
    assert reset.code == 0, reset.text
    assert (left(lab, lab.hosts[0]), lab.ask(lab.hosts[0], "nft list tables")) == ("", "table inet groundcrew")


def private_address(lab: Lab, host: Host) -> str:
    """Give a host a second interface. The default route stays on the first one, where no other host is reached."""
    address = f"10.77.{lab.number}.{host.address.rpartition('.')[2]}"
    lab.ask(
        host,
        "ip link add private0 link host0 type macvlan mode bridge && ip link set private0 up && "
        f"ip address add {address}/24 dev private0"
        + "".join(f" && ip route add unreachable {each.address}" for each in lab.hosts if each != host),
    )
    return address


WATCH = """table inet watch {{
  counter private {{ }}
  counter others {{ }}
  chain input {{
    type filter hook input priority raw
    ip daddr {network} iifname != "lo" tcp dport {ports} counter name private
    ip daddr != {network} iifname != "lo" ip saddr != {gateway} tcp dport {ports} counter name others
  }}
}}
"""


def watch_ports_of_the_cluster(lab: Lab) -> None:
    """Count packets to etcd, the API and the kubelet by network, but not those of the load balancer, the gateway.

    Both interfaces are on one cable, so that either can receive what is sent to an address of the host.
    """
    gateway, network = commands.GATEWAY.format(lab=lab.number), f"10.77.{lab.number}.0/24"
    rules = WATCH.format(ports="{ 2379-2380, 6443, 10250 }", gateway=gateway, network=network)
    for host in lab.hosts:
        lab.ask(host, f"apt-get install --yes --quiet nftables && nft --file - << 'END'\n{rules}END")


def ports_of_the_cluster(lab: Lab, host: Host) -> tuple[int, int]:
    """Return the packets to the private address and to others, and stop counting."""
    counters = lab.ask(host, "nft list counters table inet watch && nft delete table inet watch")
    packets = {name: int(count) for name, count in re.findall(r"counter (\w+) \{\s+packets (\d+)", counters)}
    return packets["private"], packets["others"]


@contextmanager
def entrance(lab: Lab) -> Iterator[tuple[str, list[str]]]:
    """Forward connections to the first server that accepts one, as a load balancer does; yield where, and to whom."""
    connections: list[str] = []

    class Forward(BaseRequestHandler):
        def handle(self) -> None:
            for host in lab.hosts:
                with suppress(OSError), socket.create_connection((host.address, 6443), timeout=5) as server:
                    connections.append(host.name)
                    with ThreadPoolExecutor() as both:
                        both.submit(copy, self.request, server)
                        both.submit(copy, server, self.request)
                    return

    with ThreadingTCPServer((commands.GATEWAY.format(lab=lab.number), 0), Forward) as forwarder:
        Thread(target=forwarder.serve_forever, daemon=True).start()
        host, port = forwarder.server_address[:2]
        yield f"{host!s}:{port}", connections
        forwarder.shutdown()


def copy(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
        to.shutdown(socket.SHUT_WR)


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
    agent, password = lab.hosts[1], "/etc/rancher/node/password"
    assert run(lab, "--limit", lab.hosts[0].address, servers=1).code == 0
    too_new = run(lab, "--limit", agent.address, servers=1, k3s_version=newer(lab))
    assert f"but a server of the cluster runs {VERSION}, and a node must not be newer" in too_new.text
    assert run(lab, servers=1).code == 0
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
    lab.ask(host, "printf '#!/bin/sh\\n' > /usr/bin/kubectl && chmod 755 /usr/bin/kubectl")
    images = run(lab, servers=1, k3s_airgap="tar.gz", k3s_artefacts=str(release(lab, damaged=f"{IMAGES}.tar.gz")))
    assert images.code == 1, images.text
    assert f"the checksum of {IMAGES}.tar.gz is wrong, so nothing was replaced" in images.text
    assert lab.ssh(host, "ls -A /var/lib/rancher/k3s/agent/images; systemctl is-active k3s").stdout == "inactive\n"
    with mirror(lab) as address:
        whole = run(lab, servers=1, k3s_airgap=True, k3s_artefacts=address)
    assert whole.code == 0, whole.text
    links = lab.ask(host, "find /usr/local/bin -type l -printf '%f '").split()
    assert sorted(links) == ["crictl", "ctr"], "the host has a kubectl of its own"
    assert lab.ask(host, f"cat {images_path}.tar.zst") == f"images of {VERSION}, smaller"
    assert f"Importing images from {images_path}.tar.zst" in lab.ask(
        host, "journalctl --sync; journalctl --unit=k3s --output=cat"
    )
    assert run(lab, servers=1, k3s_airgap=True).changes == 0
    target = newer(lab)
    other = run(lab, servers=1, k3s_version=target)
    assert other.code == 1, other.text
    assert f"K3s {VERSION} is installed and k3s_version is {target}, but k3s.py does not upgrade" in other.text
    upgraded = run(lab, of="k3s_upgrade", servers=1, k3s_airgap=True, k3s_version=target)
    assert upgraded.code == 0, upgraded.text
    assert lab.ask(host, f"cat {images_path}*") == f"images of {target}, smaller"
    assert run(lab, servers=1, k3s_airgap=True).changes == 0


@pytest.mark.long
def test_mistakes_in_the_inventory_stop_it_with_a_message(cluster: Lab) -> None:
    even = run(cluster, servers=2)
    assert even.code == 1, even.text
    assert "use 1, 3 or 5" in even.text
    typo = run(cluster, k3s_config={"flannel-backnd": "host-gw", "data-dir": "/data"})
    assert typo.code == 1, typo.text
    assert "has no flag flannel-backnd; did you mean flannel-backend?" in typo.text
    assert "data-dir is not allowed: all deploys expect /var/lib/rancher/k3s" in typo.text
    none = run(cluster, servers=0)
    assert none.code == 1, none.text
    assert "no hosts in the group k3s_servers" in none.text
