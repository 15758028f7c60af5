"""Restore a PostgreSQL server to any moment that its repositories have, on this host or on a new one.

    pyinfra inventories/production deploys/postgres_restore.py --data "to=?"
    pyinfra inventories/production deploys/postgres_restore.py --data "to=2026-11-29 14:03:10" --limit db-1.internal

The first command shows which moments can be restored. The second stops the server, keeps its cluster beside, restores,
opens the restored cluster for writing and makes a new full backup. Without an offset, a time is UTC. Other targets:
latest, a backup such as 20261129-030000F, point:NAME and xid:NUMBER. If a run is interrupted, run it again.

Other options: --data backup=20261129-030000F starts from this backup; --data timeline=1 follows an older timeline;
--data old=replace overwrites the old cluster; --data old_server=stopped confirms that no other server archives.

If the server is lost: run this on a new host with the same postgres_pitr and secrets, then deploys/postgres.py.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.postgres import archive, replication, restore, setup

servers = preflight.hosts_of_group(setup.GROUP)
if host.name in servers:
    preflight.required("postgres_pitr", "only a server with point-in-time recovery can be restored")
    asked = restore.request_of_data(host.data)
    preflight.stop_on_faults(restore.several_servers_faults(preflight.hosts_in_limit(servers), asked))
    this_server = setup.server_of_group_data(replication=replication.replication_of_host())
    pitr = this_server.pitr
    assert pitr is not None

    setup.install_server(this_server)
    setup.configure_server(this_server, create_stanza=False)
    if asked.target is None:
        restore.show_reachable(name="Reachable moments", pitr=pitr)
    else:
        restore.restore_cluster(
            name=f"Restore {asked.target}", server=this_server, pitr=pitr, asked=asked, target=asked.target
        )
        archive.start(pitr, this_server.version)
