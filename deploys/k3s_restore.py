"""Restore a K3s cluster from an etcd snapshot, on the first server's disk or in S3. All later changes are lost.

    pyinfra inventories/staging deploys/k3s_restore.py
    pyinfra inventories/staging deploys/k3s_restore.py --data k3s_restore=staging/etcd-snapshot-server-1-1790000000

The first command lists the snapshots, and changes nothing. The second stops all servers, restores the first one, and
lets the others join it one at a time; then the agents return. If a run is interrupted, run the same command again. To
restore the same snapshot a second time, first remove /var/lib/rancher/k3s/groundcrew-restored from the first server.

If all hosts are lost: run deploys/k3s.py on new ones with the old token, then this, then deploys/k3s.py again.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import artefacts, nodes
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import snapshots as k3s_snapshots

cluster = k3s_cluster.cluster_hosts()
if host.name in cluster.all:
    preflight.check_system(disk=500)
    preflight.require_in_limit(cluster.all, "a node that is not restored would continue with the old state")
    preflight.stop_on_faults(k3s_snapshots.host_faults())
    value, snapshots = str(cluster.settings.get("k3s_restore") or ""), k3s_snapshots.list_snapshots(cluster)
    preflight.stop_on_faults(k3s_snapshots.faults(value, cluster.environment, snapshots))
    snapshot = next(each for each in snapshots if each.name == value.partition("/")[2])
    node, limit = k3s_cluster.this_node(cluster), int(cluster.settings.get("k3s_wait") or 300)

    k3s_snapshots.stop_servers(name="Stop servers", node=node, first=cluster.first, snapshot=snapshot.name)
    k3s_snapshots.restore_state(name=f"Restore {snapshot.name}", cluster=cluster, snapshot=snapshot, limit=limit)
    for group in host.loop([*([server] for server in cluster.servers), list(cluster.agents)]):
        label = "agents" if group == list(cluster.agents) else f"server {group[0]}"
        if group != [cluster.first]:
            k3s_snapshots.prepare_rejoin(
                name=f"Delete the old state of {label}",
                hosts=group,
                node=node,
                first=cluster.first,
                snapshot=snapshot.name,
            )
        nodes.start_node(
            name=f"Start {label}",
            hosts=group,
            node=node,
            servers=cluster.servers,
            version=artefacts.installed_version(),
            files=(),
            limit=limit,
        )
