"""Upgrade a running K3s cluster to the version in group data: servers one by one, then agents in small batches.

    pyinfra inventories/staging deploys/k3s_upgrade.py
    pyinfra inventories/staging deploys/k3s_upgrade.py --data k3s_version=v1.34.1+k3s1

The upgrade stops at the first node that fails, and continues from there when you run it again.

Group data: as for deploys/k3s.py. k3s_version is the target; k3s_batch, k3s_drain, k3s_drain_force and k3s_wait set
batches and limits.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import artefacts, draining, files, rolling, versions
from deploys.lib.k3s import cluster as k3s_cluster

DISK = 1000  # MiB, for a second binary and the files that it unpacks

cluster = k3s_cluster.cluster_hosts()
if host.name in cluster.all:
    settings = cluster.settings
    preflight.check_system(disk=DISK)
    preflight.require_in_limit(cluster.servers, "an upgrade starts with the servers and needs all of them")
    preflight.stop_on_faults(files.faults(settings, len(cluster.servers)))
    node, nodes = k3s_cluster.this_node(cluster), k3s_cluster.read_nodes(*cluster.servers)
    preflight.stop_on_faults(k3s_cluster.membership_faults(node.name, nodes))
    version, source = settings["k3s_version"], settings["k3s_artefacts"]
    preflight.stop_on_faults(
        versions.faults(
            node.name,
            files.kubelet_version((nodes or {})[node.name]),
            version,
            skip=bool(settings.get("k3s_skip_minor")),
            backwards=bool(settings.get("k3s_backwards")),
        )
    )
    upgrade = rolling.Upgrade(
        version=version,
        servers=cluster.servers,
        limit=int(settings.get("k3s_wait") or 300),
        drain=draining.drain_settings(settings),
    )

    # All that can fail without harm comes before the first node stops.
    artefacts.stage_binary(name=f"Download K3s {version}", version=version, artefacts=source)
    if suffix := artefacts.images_suffix(settings.get("k3s_airgap")):
        artefacts.install_images(name=f"Images of {version}", version=version, artefacts=source, suffix=suffix)
    rolling.take_snapshot(name="Snapshot before the first server", server=cluster.first, upgrade=upgrade)
    batches = versions.batches(cluster.agents, int(settings.get("k3s_batch") or 1))
    for group in host.loop([*([server] for server in cluster.servers), *batches]):
        rolling.upgrade_node(name=f"Upgrade {', '.join(group)} to {version}", hosts=group, node=node, upgrade=upgrade)
