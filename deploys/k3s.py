"""A K3s cluster: one server, or three or five with etcd, and agents.

    pyinfra inventories/staging deploys/k3s.py

Its data: inventories/group_data/k3s_servers.py for the cluster; k3s_labels, k3s_taints and k3s_address for a host.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pyinfra import host, inventory

from deploys.lib import operations, preflight
from deploys.lib.k3s import artefacts as k3s_artefacts
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import files, nodes, snapshots
from deploys.lib.k3s.files import BINARY, CONFIG, MANIFESTS, MODULES_FILE, REGISTRIES, SYSCTL_FILE, Cluster
from inventories import Secret

MEMORY, DISK = 900, 3000  # MiB

its = k3s_cluster.hosts()
if host.name in its.all:
    given, first = its.given, its.first
    preflight.host_is_fit(memory=MEMORY, disk=DISK)
    preflight.every(files.faults(given, len(its.servers)))
    namespaces = given.get("k3s_namespaces") or []
    if host.name == first:
        preflight.every(files.faults_of_hosts(k3s_cluster.names_of_hosts(its)))
        preflight.every(k3s_cluster.faults_of_founding(its))
        _, manifest = k3s_cluster.ask(first, f"cat {MANIFESTS} 2>/dev/null")
        dropped = str(given.get("k3s_drop_namespaces") or "")
        preflight.every(files.faults_of_namespaces("\n".join(manifest), namespaces, dropped))
    version, artefacts = given["k3s_version"], given["k3s_artefacts"]
    there = k3s_artefacts.installed()
    if there not in ("", version):
        raise preflight.DeployError(
            f"{host.name}: K3s {there} is there, and {version} is wanted; this deploy does not upgrade: "
            f"run deploys/k3s_upgrade.py, or keep {there}"
        )

    def address(name: str) -> str:
        """Where others reach a host."""
        one = inventory.get_host(name)
        return str(one.data.get("k3s_address") or one.data.get("ssh_hostname") or one.name)

    token, token_from = nodes.token_of(its.environment, given.get("k3s_token") or {})
    if host.name in its.servers:
        preflight.every(files.faults_of_token(host.name, nodes.token_there(host.name), token, token_from))
    taken = given.get("k3s_snapshots") or {}
    keys = snapshots.keys(taken["s3"]) if taken.get("s3") else ("", "")
    cluster = Cluster(
        version=version,
        addresses=tuple(map(address, its.servers)),
        token=token,
        config=given.get("k3s_config") or {},
        snapshots=files.snapshots(taken, *keys),
    )
    node = k3s_cluster.node_of(its)
    limit = int(given.get("k3s_wait") or 300)
    told = files.as_yaml(files.config(cluster, node, founds=host.name == first))
    unit_file = f"/etc/systemd/system/{node.unit}"
    registries = files.HEAD + yaml.safe_dump(given.get("k3s_registries") or {})

    if host.name == first and not given.get("k3s_token"):
        nodes.token_is_kept(name="Token is kept on this machine", environment=its.environment)
    operations.file(name="Kernel settings", text=files.SYSCTL, dest=SYSCTL_FILE, mode="644")
    operations.file(name="Kernel modules", text=files.MODULES, dest=MODULES_FILE, mode="644")
    operations.current(
        name="Kernel settings are in force",
        unit="systemd-sysctl.service",
        files=[SYSCTL_FILE],
        oneshot=True,
    )
    operations.packages_are_there(name="Packages", packages=["ca-certificates", "curl"])
    k3s_artefacts.binary_is_there(name=f"K3s {version}", version=version, artefacts=artefacts)
    read = [CONFIG, REGISTRIES, unit_file, BINARY]
    if ending := k3s_artefacts.ending_of(given.get("k3s_airgap")):
        read.append(k3s_artefacts.images_of_this_machine(ending))
        k3s_artefacts.images_are_there(name=f"Images of {version}", version=version, artefacts=artefacts, ending=ending)
    operations.folder(name="Folder of the configuration", path="/etc/rancher/k3s", mode="755")
    operations.secret_file(name="Configuration", dest=CONFIG, text=Secret(literal=told))
    operations.secret_file(name="Registries", dest=REGISTRIES, text=Secret(literal=registries))
    operations.file(
        name="Unit",
        text=files.unit("server" if node.server else "agent", node.unit),
        dest=unit_file,
        mode="644",
    )
    operations.units_are_read(name="systemd has read its files", files=[unit_file])

    # Servers one at a time, since etcd admits one learner; then all agents together.
    for who in host.loop([*([server] for server in its.servers), list(its.agents)]):
        nodes.node_is_up(
            name="Agents are ready" if who == list(its.agents) else f"Server {who[0]} is ready",
            who=who,
            node=node,
            servers=its.servers,
            version=version,
            files=read,
            limit=limit,
        )
    nodes.taints_are_right(name="Taints", node=node, servers=its.servers)
    nodes.labels_are_right(name="Labels", node=node, servers=its.servers)
    if host.name == first:
        operations.file(
            name="Namespaces",
            text=files.manifest(namespaces),
            dest=MANIFESTS,
            mode="600",
        )
        nodes.kubeconfig_is_here(
            name="Kubeconfig",
            cluster=its.environment,
            url=cluster.url,
            to=Path(given.get("k3s_kubeconfig") or f"~/.kube/{its.environment}.yaml").expanduser(),
            merge=bool(given.get("k3s_kubeconfig_merge")),
        )
