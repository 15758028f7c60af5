"""Set up a PostgreSQL server: databases, roles, a backup role, settings sized to the host.

    pyinfra inventories/dev deploys/postgres.py

Group data: inventories/group_data/postgres_servers.py, which explains each key.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import operations, preflight
from deploys.lib.postgres import files, server
from deploys.lib.postgres import roles as postgres_roles

MEMORY, DISK = 500, 1500  # MiB

if host.name in preflight.hosts_of_group("postgres_servers"):
    system = preflight.check_system(memory=MEMORY, disk=DISK)
    version = files.VERSIONS[system.name, system.version]
    clients = host.data.get("postgres_clients") or []
    backup = host.data.get("postgres_backup") or {}
    given_roles = preflight.required("postgres_roles", "add them in inventories/group_data/postgres_servers.py")
    given_databases = host.data.get("postgres_databases") or []
    preflight.stop_on_faults(
        f"{host.name}: {fault}"
        for fault in [
            *postgres_roles.faults([*given_roles, *([backup] if backup else [])], given_databases),
            *files.faults(clients),
        ]
    )
    roles, databases = postgres_roles.desired_state(given_roles, given_databases, backup)

    folder, unit = f"/etc/postgresql/{version}/main", f"postgresql@{version}-main.service"
    settings_path, access_path = f"{folder}/{files.SETTINGS}", f"{folder}/pg_hba.conf"
    settings = files.postgres_settings(
        host.data.get("postgres_memory") or system.memory, clients, host.data.get("postgres_settings") or {}
    )

    # Before the packages: installing them creates the first cluster.
    operations.write_file(
        name="Defaults for new clusters",
        text=files.CLUSTERS,
        dest="/etc/postgresql-common/createcluster.conf",
        mode="644",
    )
    operations.install_packages(name="Packages", packages=[f"postgresql-{version}", f"postgresql-client-{version}"])
    operations.write_file(
        name="Settings",
        text=settings,
        dest=settings_path,
        mode="644",
        check=files.settings_check_command(version, folder),
    )
    operations.write_file(
        name="Access rules",
        text=files.pg_hba(clients),
        dest=access_path,
        owner="postgres:postgres",
        mode="640",
    )
    server.run_server(name="Server", unit=unit, settings=settings_path)
    server.reload_access_rules(name="Reload access rules", unit=unit, access=access_path)
    server.apply_roles_and_databases(name="Roles and databases", roles=roles, databases=databases)
    if backup:
        server.grant_large_objects(
            name="Large objects", backup=backup["name"], databases=[database.name for database in databases]
        )
