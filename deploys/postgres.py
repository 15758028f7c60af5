"""Set up a PostgreSQL server: databases, roles, a backup role, settings sized to the host, point-in-time recovery.

    pyinfra inventories/dev deploys/postgres.py

Group data: inventories/group_data/postgres_servers.py, which explains each key.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import preflight
from deploys.lib.postgres import archive, exporter, extensions, restore, server, setup, tls
from deploys.lib.postgres import roles as postgres_roles

if host.name in preflight.hosts_of_group(setup.GROUP):
    backup = host.data.get("postgres_backup") or {}
    given_roles = preflight.required("postgres_roles", "add them in inventories/group_data/postgres_servers.py")
    given_databases = host.data.get("postgres_databases") or []
    this_server = setup.server_of_group_data(
        postgres_roles.faults([*given_roles, *([backup] if backup else [])], given_databases)
    )
    if this_server.pitr:
        restore.require_no_unfinished_restore()
    roles, databases = postgres_roles.desired_state(given_roles, given_databases, backup)
    if this_server.exporter:
        roles.append(exporter.ROLE)

    setup.install_server(this_server)
    setup.configure_server(this_server)
    server.run_server(name="Server", unit=this_server.unit, settings=this_server.settings_path)
    server.reload_access_rules(name="Reload access rules", unit=this_server.unit, access=this_server.access_path)
    if this_server.tls:
        tls.load_certificate(
            name="Certificate",
            tls=this_server.tls,
            unit=this_server.unit,
            version=this_server.version,
            folder=this_server.folder,
        )
    else:
        tls.remove_certificate(name="Own certificate", unit=this_server.unit, folder=this_server.folder)
    server.apply_roles_and_databases(name="Roles and databases", roles=roles, databases=databases)
    extensions.apply_extensions(name="Extensions", extensions=this_server.extensions)
    if backup:
        server.grant_large_objects(
            name="Large objects", backup=backup["name"], databases=[database.name for database in databases]
        )
    setup.start_services(this_server, [role["name"] for role in given_roles])
    if this_server.pitr:
        archive.start(this_server.pitr, this_server.version)
    else:
        archive.remove()
