"""A K3s cluster: one server, or three or five with etcd, and agents.

    pyinfra inventories/staging deploys/k3s.py

Its data: inventories/group_data/k3s_servers.py for the cluster; k3s_labels, k3s_taints and k3s_address for a host.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import yaml
from pyinfra import host, inventory
from pyinfra.operations import files

from deploys import early, k3s_files, k3s_nodes, passwords, pieces
from deploys.k3s_files import BINARY, CONFIG, MANIFESTS, REGISTRIES, Cluster, Node
from inventories import Secret

MEMORY, DISK = 900, 3000  # MiB

servers = early.group("k3s_servers")
agents = [each.name for each in inventory.groups.get("k3s_agents", []) if each.name not in servers]
if host.name in [*servers, *agents]:
    first, environment = servers[0], host.groups[-1]
    given = inventory.get_host(first).data
    early.host_is_fit(memory=MEMORY, disk=DISK)
    early.every(k3s_files.faults(given.dict(), len(servers)))
    version = given.k3s_version
    there = k3s_nodes.installed()
    if there not in ("", version):
        raise early.DeployError(
            f"{host.name}: K3s {there} is there, and {version} is wanted; this deploy does not upgrade: keep {there}"
        )

    def address(name: str) -> str:
        """Where others reach a host."""
        one = inventory.get_host(name)
        return str(one.data.get("k3s_address") or one.data.get("ssh_hostname") or one.name)

    taken = given.get("k3s_snapshots") or {}
    keys = [
        passwords.revealed(f"k3s_snapshots: s3: {name}", taken["s3"][name]) if taken.get("s3") else ""
        for name in ("access_key", "secret_key")
    ]
    cluster = Cluster(
        version=version,
        addresses=tuple(map(address, servers)),
        token=k3s_nodes.token_of(environment, given.get("k3s_token") or {}),
        config=given.get("k3s_config") or {},
        snapshots=k3s_files.snapshots(taken, *keys),
    )
    node = Node(
        name=host.get_fact(pieces.Lines, "hostname")[0].lower(),
        server=host.name in servers,
        labels=tuple(host.data.get("k3s_labels") or ()),
        taints=tuple(host.data.get("k3s_taints") or ()),
    )
    limit = int(given.get("k3s_wait") or 300)
    told = k3s_files.as_yaml(k3s_files.config(cluster, node, founds=host.name == first))
    unit_file = f"/etc/systemd/system/{node.unit}"
    registries = k3s_files.HEAD + yaml.safe_dump(given.get("k3s_registries") or {})

    files.put(name="Kernel settings", src=StringIO(k3s_files.SYSCTL), dest="/etc/sysctl.d/90-k3s.conf", mode="644")
    files.put(name="Kernel modules", src=StringIO(k3s_files.MODULES), dest="/etc/modules-load.d/k3s.conf", mode="644")
    pieces.current(
        name="Kernel settings are in force",
        unit="systemd-sysctl.service",
        files=["/etc/sysctl.d/90-k3s.conf"],
        oneshot=True,
    )
    pieces.packages_are_there(name="Packages", packages=["ca-certificates", "curl"])
    k3s_nodes.binary_is_there(name=f"K3s {version}", version=version, artefacts=given.k3s_artefacts)
    files.directory(name="Folder of the configuration", path="/etc/rancher/k3s", mode="755")
    pieces.secret_file(name="Configuration", dest=CONFIG, text=Secret(literal=told))
    pieces.secret_file(name="Registries", dest=REGISTRIES, text=Secret(literal=registries))
    files.put(
        name="Unit",
        src=StringIO(k3s_files.unit("server" if node.server else "agent", node.unit)),
        dest=unit_file,
        mode="644",
    )
    pieces.units_are_read(name="systemd has read its files", files=[unit_file])

    # Servers one at a time, since etcd admits one learner; then all agents together.
    for who in host.loop([*([server] for server in servers), agents]):
        k3s_nodes.node_is_up(
            name=f"Server {who[0]} is ready" if who != agents else "Agents are ready",
            who=who,
            node=node,
            first=first,
            version=version,
            files=[CONFIG, REGISTRIES, unit_file, BINARY],
            limit=limit,
        )
    k3s_nodes.taints_are_right(name="Taints", node=node, first=first)
    if host.name == first:
        files.put(
            name="Namespaces",
            src=StringIO(k3s_files.manifest(given.get("k3s_namespaces") or [])),
            dest=MANIFESTS,
            mode="600",
        )
        k3s_nodes.kubeconfig_is_here(
            name="Kubeconfig",
            cluster=environment,
            url=cluster.url,
            to=Path(given.get("k3s_kubeconfig") or f"~/.kube/{environment}.yaml").expanduser(),
            merge=bool(given.get("k3s_kubeconfig_merge")),
        )
