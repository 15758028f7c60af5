"""Upgrade a PostgreSQL server to the major version in group data, with pg_upgrade on the same host.

    pyinfra inventories/production deploys/postgres_upgrade.py
    pyinfra inventories/production deploys/postgres_upgrade.py --data mode=copy

First set postgres_version. The first command installs the new version and runs `pg_upgrade --check` beside the
running server. The second makes a backup, stops the server, upgrades a copy of its data, starts the new version on the
same port, and collects statistics. mode=link shares the files instead of copying them: it takes seconds, and the old
cluster can't be used afterwards. If the upgrade fails, the old server starts again. If a run is interrupted, run it
again, or go back with mode=back, until the new server was opened.

Other options: --data backup=taken confirms a backup of a server without postgres_pitr; --data from=15 chooses the
server to upgrade, if the host has several. Afterwards, run deploys/postgres.py.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.postgres import archive, replication, setup, upgrade

if host.name in preflight.hosts_of_group(setup.GROUP):
    faults = upgrade.upgrade_faults(
        host.data,
        has_pitr=bool(host.data.get("postgres_pitr")),
        has_standbys=bool(replication.names_of_host()),
    )
    this_server = setup.server_of_group_data(faults, upgrading=True)
    asked = upgrade.upgrade_request(host.data)
    old = upgrade.version_to_upgrade(this_server.version, *setup.clusters_of_host(), asked.old)
    if old:
        setup.install_programs(this_server)
        upgrade.create_new_cluster(name="New cluster", old=old, new=this_server.version)
        setup.configure_server(this_server, set_up_archive=False)
        upgrade.upgrade_cluster(
            name=f"{asked.mode}: PostgreSQL {old} to {this_server.version}",
            old=old,
            new=this_server.version,
            asked=asked,
            pitr=this_server.pitr,
        )
        if this_server.pitr and asked.mode in {"copy", "link"}:
            archive.start(this_server.pitr, this_server.version)
