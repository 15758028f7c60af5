"""Rotate the key that encrypts secrets in etcd: a new key, all secrets encrypted with it, servers restarted one by one.

    pyinfra inventories/production deploys/k3s_rekey.py --data k3s_rekey=production

If a run is interrupted, run it again; it continues.

Group data: as for deploys/k3s.py.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.k3s import artefacts, encryption
from deploys.lib.k3s import cluster as k3s_cluster

cluster = k3s_cluster.cluster_hosts()
if host.name in cluster.servers:
    settings, first = cluster.settings, cluster.first
    preflight.check_system()
    preflight.require_in_limit(cluster.servers, "all servers need the new key")
    status = encryption.read_encryption_status(first)
    preflight.stop_on_faults(encryption.faults(str(host.data.get("k3s_rekey") or ""), cluster.environment, status))
    node, version = k3s_cluster.this_node(cluster), artefacts.installed_version()
    limit = int(settings.get("k3s_wait") or 300)

    encryption.rotate_key(name="New key", server=first, limit=limit)
    for server in host.loop(cluster.servers):
        encryption.restart_server(
            name=f"Restart {server}", server=server, node=node, servers=cluster.servers, version=version, limit=limit
        )
