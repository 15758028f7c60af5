"""A K3s cluster goes back to a snapshot of etcd, from the first server's disk or from S3: what came after it is lost.

    pyinfra inventories/staging deploys/k3s_restore.py
    pyinfra inventories/staging deploys/k3s_restore.py --data k3s_restore=staging/etcd-snapshot-server-1-1790000000

The first line tells which snapshots there are, and changes nothing. All servers are stopped, the first gets the state,
the others join it one at a time, the agents come back. A run that died is finished by the next with the same words; to
restore the same snapshot once more, remove /var/lib/rancher/k3s/groundcrew-restored from the first server before.
Of a cluster that was lost with its hosts: deploys/k3s.py on new ones, with the old token; then this; then k3s.py again.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import artefacts, nodes
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import snapshots as k3s_snapshots

cluster = k3s_cluster.hosts()
if host.name in cluster.all:
    preflight.host_is_fit(disk=500)
    preflight.all_take_part(cluster.all, "a node that is left out would go on with what was before")
    preflight.every(k3s_snapshots.faults_of_host())
    said, snapshots = str(cluster.given.get("k3s_restore") or ""), k3s_snapshots.there(cluster)
    preflight.every(k3s_snapshots.faults(said, cluster.environment, snapshots))
    snapshot = next(one for one in snapshots if one.name == said.partition("/")[2])
    node, limit = k3s_cluster.node_of(cluster), int(cluster.given.get("k3s_wait") or 300)

    k3s_snapshots.servers_are_stopped(
        name="Servers are stopped", node=node, first=cluster.first, snapshot=snapshot.name
    )
    k3s_snapshots.state_is_restored(name=f"State of {snapshot.name}", cluster=cluster, snapshot=snapshot, limit=limit)
    for who in host.loop([*([server] for server in cluster.servers), list(cluster.agents)]):
        others = "Agents" if who == list(cluster.agents) else f"Server {who[0]}"
        if who != [cluster.first]:
            k3s_snapshots.node_begins_anew(
                name=f"{others}: begins anew", who=who, node=node, first=cluster.first, snapshot=snapshot.name
            )
        nodes.node_is_up(
            name=f"{others}: ready",
            who=who,
            node=node,
            servers=cluster.servers,
            version=artefacts.installed(),
            files=(),
            limit=limit,
        )
