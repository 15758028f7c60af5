"""A PostgreSQL server: databases, roles, a role for backups, settings that fit the host.

    pyinfra inventories/dev deploys/postgres.py

Who and what is group data: inventories/group_data/postgres_servers.py, where each key is explained.
"""

from __future__ import annotations

from pyinfra import host

from deploys.lib import operations, preflight
from deploys.lib.postgres import files
from deploys.lib.postgres import roles as postgres_roles
from deploys.lib.postgres.server import access_is_in_force, large_objects_are_readable, roles_and_databases, server_runs

MEMORY, DISK = 500, 1500  # MiB

if host.name in preflight.group("postgres_servers"):
    system = preflight.host_is_fit(memory=MEMORY, disk=DISK)
    version = files.VERSIONS[system.name, system.version]
    clients = host.data.get("postgres_clients") or []
    backup = host.data.get("postgres_backup") or {}
    given_roles = preflight.wanted("postgres_roles", "name them in inventories/group_data/postgres_servers.py")
    given_databases = host.data.get("postgres_databases") or []
    preflight.every(
        f"{host.name}: {fault}"
        for fault in [
            *postgres_roles.faults([*given_roles, *([backup] if backup else [])], given_databases),
            *files.faults(clients),
        ]
    )
    roles, databases = postgres_roles.read(given_roles, given_databases, backup)

    folder, unit = f"/etc/postgresql/{version}/main", f"postgresql@{version}-main.service"
    live, access = f"{folder}/{files.SETTINGS}", f"{folder}/pg_hba.conf"
    settings = files.settings(
        host.data.get("postgres_memory") or system.memory, clients, host.data.get("postgres_settings") or {}
    )

    # Before the packages, since installing them makes the first cluster.
    operations.file(
        name="How clusters are made",
        text=files.CLUSTERS,
        dest="/etc/postgresql-common/createcluster.conf",
        mode="644",
    )
    operations.packages_are_there(name="Packages", packages=[f"postgresql-{version}", f"postgresql-client-{version}"])
    operations.file(name="Settings", text=settings, dest=live, mode="644", check=files.check(version, folder))
    operations.file(
        name="Who may connect",
        text=files.access(clients),
        dest=access,
        owner="postgres:postgres",
        mode="640",
    )
    server_runs(name="Server", unit=unit, settings=live)
    access_is_in_force(name="Access", unit=unit, access=access)
    roles_and_databases(name="Roles and databases", roles=roles, databases=databases)
    if backup:
        large_objects_are_readable(
            name="Large objects", backup=backup["name"], databases=[database.name for database in databases]
        )
