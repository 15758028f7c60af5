"""Set up a PostgreSQL server: databases, roles, a backup role, settings sized to the host, point-in-time recovery.

    pyinfra inventories/dev deploys/postgres.py

Hosts in the group postgres_standbys become standbys, with the group data of their primary. --data rebuild=HOST makes a
standby again, for example one that was away for too long.

Group data: inventories/group_data/postgres_servers.py, which explains each key.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.postgres import archive, exporter, extensions, replication, restore, server, setup, standby
from deploys.lib.postgres import roles as postgres_roles

primaries, replicated = preflight.hosts_of_group(setup.GROUP), replication.replication_of_host()
is_standby = replicated is not None and replicated.is_standby
is_fenced = False
if host.name in primaries or is_standby:
    is_fenced = standby.require_role_in_place(is_primary=not is_standby)
    backup = host.data.get("postgres_backup") or {}
    given_roles = preflight.required("postgres_roles", "add them in inventories/group_data/postgres_servers.py")
    given_databases = host.data.get("postgres_databases") or []
    this_server = setup.server_of_group_data(
        postgres_roles.faults([*given_roles, *([backup] if backup else [])], given_databases),
        replicated,
    )
    if this_server.pitr:
        restore.require_no_unfinished_restore()
    roles, databases = postgres_roles.desired_state(given_roles, given_databases, backup)
    if this_server.exporter:
        roles.append(exporter.ROLE)

    setup.install_server(this_server)
    if replicated:
        standby.set_up_member(replicated, this_server)
    setup.configure_server(this_server, create_stanza=not is_standby)
if host.name in primaries:
    server.run_server(name="Server", unit=this_server.unit, settings=this_server.settings_path)
    server.reload_access_rules(name="Reload access rules", unit=this_server.unit, access=this_server.access_path)
    setup.apply_certificate(this_server)
    server.apply_roles_and_databases(name="Roles and databases", roles=roles, databases=databases)
    extensions.apply_extensions(name="Extensions", extensions=this_server.extensions)
    if backup:
        server.grant_large_objects(
            name="Large objects", backup=backup["name"], databases=[database.name for database in databases]
        )
    if replicated:
        standby.set_up_primary(replicated)
    else:
        standby.remove_replication(name="Files of replication")
    setup.start_services(this_server, [role["name"] for role in given_roles])
    if this_server.pitr:
        archive.start(this_server.pitr, this_server.version)
    else:
        archive.remove()
if replicated:
    # All members run this operation, so each standby goes on when its primary is ready for it.
    standby.start_metrics(replicated)
if replicated and is_standby and not is_fenced:
    if this_server.pitr:
        standby.stop_backups()
    else:
        archive.remove()
    standby.make_standby(replicated, this_server, str(host.data.get("rebuild") or ""))
    server.run_server(name="Standby server", unit=this_server.unit, settings=this_server.settings_path)
    server.reload_access_rules(name="Standby access", unit=this_server.unit, access=this_server.access_path)
    setup.apply_certificate(this_server)
    standby.follow(replicated, this_server)
    setup.start_services(this_server, [role["name"] for role in given_roles])
