"""Promote a standby of PostgreSQL by hand, fence the old primary, and let it join again later.

    pyinfra inventories/production deploys/postgres_promote.py
    pyinfra inventories/production deploys/postgres_promote.py --data promote=db-2
    pyinfra inventories/production deploys/postgres_promote.py --data rejoin=db-1

The first command shows the servers and what a promotion would lose, and changes nothing. The second stops the old
primary, waits until the standby has all its transactions, promotes the standby, and keeps the old primary from starting
again. Then move both hosts to their new groups in the inventory and run deploys/postgres.py.

The third saves what the old primary wrote after the split, rewinds it, and makes it a standby. If a run is interrupted,
run the same command again.

If the old primary is lost: power it off, then add --limit db-2 --data lose=yes to the second command.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.postgres import archive, promote, replication, setup, standby

preflight.hosts_of_group(replication.STANDBYS)
if members := replication.replication_of_host(without_addresses=True):
    new, former, lose = promote.read_request(host.data, members)
    if host.name == new:
        preflight.check_system()
        this_server = setup.server_of_group_data()
        promote.promote_standby(name=f"Promote {new}", replication=members, version=this_server.version, lose=lose)
        if this_server.pitr:
            archive.start(this_server.pitr, this_server.version)
    elif host.name == former:
        preflight.check_system()
        replicated = replication.replication_of_host()
        assert replicated
        this_server = setup.server_of_group_data(replication=replicated)
        standby.set_up_member(replicated, this_server)
        setup.configure_server(this_server, create_stanza=False)
        if this_server.pitr:
            standby.stop_backups()
        promote.rejoin(replicated, this_server, lose=lose)
        standby.follow(replicated, this_server)
    elif not new and not former and host.name == members.primary.name:
        version = setup.server_of_group_data().version
        promote.show_members(name="Members", replication=members, version=version)
