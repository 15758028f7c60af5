"""A running K3s cluster goes to the version that group data names: servers one by one, then agents in small batches.

    pyinfra inventories/staging deploys/k3s_upgrade.py
    pyinfra inventories/staging deploys/k3s_upgrade.py --data k3s_version=v1.34.1+k3s1

It ends at the first node that fails, and goes on from there when it is run again. Its data is that of deploys/k3s.py:
k3s_version, k3s_artefacts, k3s_airgap, and k3s_batch, k3s_drain, k3s_wait for how many and how long.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import artefacts, files, rolling, versions
from deploys.lib.k3s import cluster as k3s_cluster

DISK = 1000  # MiB: a binary beside the other, and what it unpacks itself to

cluster = k3s_cluster.hosts()
if host.name in cluster.all:
    given = cluster.given
    preflight.host_is_fit(disk=DISK)
    preflight.all_take_part(cluster.servers, "an upgrade begins with the servers, and stops where one is missing")
    preflight.every(files.faults(given, len(cluster.servers)))
    node, nodes = k3s_cluster.node_of(cluster), k3s_cluster.nodes(*cluster.servers)
    preflight.every(k3s_cluster.faults_of_node(node.name, nodes))
    version = given["k3s_version"]
    preflight.every(
        versions.faults(
            node.name,
            files.version_of((nodes or {})[node.name]),
            version,
            skip=bool(given.get("k3s_skip_minor")),
            back=bool(given.get("k3s_backwards")),
        )
    )
    upgrade = rolling.Upgrade(
        version=version,
        servers=cluster.servers,
        limit=int(given.get("k3s_wait") or 300),
        drain=int(given.get("k3s_drain") or 300),
    )

    # All that can fail without harm comes before the first node is taken down.
    artefacts.binary_lies_ready(name=f"K3s {version} lies ready", version=version, artefacts=given["k3s_artefacts"])
    if ending := artefacts.ending_of(given.get("k3s_airgap")):
        artefacts.images_are_there(
            name=f"Images of {version}", version=version, artefacts=given["k3s_artefacts"], ending=ending
        )
    rolling.snapshot_is_taken(name="Snapshot before the first server", who=cluster.first, upgrade=upgrade)
    batches = versions.batches(cluster.agents, int(given.get("k3s_batch") or 1))
    for who in host.loop([*([server] for server in cluster.servers), *batches]):
        rolling.node_is_upgraded(
            name=f"{', '.join(who)}: {version}, ready and open to pods", who=who, node=node, upgrade=upgrade
        )
