"""Install and configure a PostgreSQL server, as deploys/postgres.py and deploys/postgres_restore.py need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyinfra import host, inventory

from deploys.lib import operations, preflight
from deploys.lib.operations import CommandLines
from deploys.lib.postgres import archive, exporter, files, pooler, versions
from deploys.lib.postgres import extensions as postgres_extensions
from deploys.lib.postgres import pitr as postgres_pitr
from deploys.lib.postgres import replication as postgres_replication
from deploys.lib.postgres import tls as postgres_tls
from deploys.lib.postgres.exporter import Exporter
from deploys.lib.postgres.extensions import Extensions
from deploys.lib.postgres.pitr import Pitr
from deploys.lib.postgres.pooler import Pooler
from deploys.lib.postgres.replication import Replication
from deploys.lib.postgres.tls import Tls
from deploys.lib.preflight import System
from inventories import Secret

MEMORY, DISK = 500, 1500  # MiB
GROUP = "postgres_servers"
DISK_SIZE = (
    "df --output=size -B1M /var/lib/postgresql 2>/dev/null | tail -1 | grep . || df --output=size -B1M /var | tail -1"
)


@dataclass(frozen=True)
class ManagedServer:
    """A server as group data describes it."""

    version: int
    settings: str  # the text of the settings file
    clients: tuple[str, ...]
    rules: tuple[str, ...]  # lines of pg_hba.conf
    pitr: Pitr | None
    pitr_config: Secret = field(default_factory=Secret)
    extensions: Extensions = field(default_factory=dict)
    tls: Tls | None = None
    repository: str = ""  # of packages, besides those that the host has
    codename: str = ""  # of the operating system
    port: int = 5432
    pooler: Pooler | None = None
    exporter: Exporter | None = None

    @property
    def folder(self) -> str:
        return f"/etc/postgresql/{self.version}/main"

    @property
    def settings_path(self) -> str:
        return f"{self.folder}/{files.SETTINGS}"

    @property
    def access_path(self) -> str:
        return f"{self.folder}/pg_hba.conf"

    @property
    def unit(self) -> str:
        return f"postgresql@{self.version}-main.service"


def apply_certificate(server: ManagedServer) -> None:
    """Let the server read its own certificate, or remove one that group data no longer has."""
    if server.tls:
        postgres_tls.load_certificate(
            name="Certificate", tls=server.tls, unit=server.unit, version=server.version, folder=server.folder
        )
    else:
        postgres_tls.remove_certificate(name="Own certificate", unit=server.unit, folder=server.folder)


def start_services(server: ManagedServer, roles: Sequence[str]) -> None:
    """Set up the pooler, for these roles, and the exporter. Remove those that group data no longer has."""
    if server.pooler:
        pooler.set_up_pooler(server.pooler, roles, server.tls, server.port)
    else:
        pooler.remove_pooler(name="Pooler")
    if server.exporter:
        exporter.set_up_exporter(server.exporter, server.port)
    else:
        exporter.remove_exporter(name="Exporter")


def clusters_of_host() -> tuple[list[int], list[int]]:
    """Return the versions that have a cluster on this host, and those of an unfinished upgrade."""
    lines: list[str] = host.get_fact(CommandLines, versions.CLUSTERS_COMMAND)
    return versions.parse_clusters(lines)


def version_of_group_data(system: System, *, upgrading: bool) -> tuple[int, str, list[str]]:
    """Return the major version, the repository that has it ("" if the system does), and the faults of both."""
    own = files.VERSIONS[system.name, system.version]
    given, beside = host.data.get("postgres_version") or 0, host.data.get("postgres_beside") or []
    repository = host.data.get("postgres_repository")
    repository = versions.REPOSITORY if repository is None else repository
    if faults := list(versions.faults(given, beside, repository)):
        return own, "", faults
    version = given or own
    existing, unfinished = clusters_of_host()
    faults = [] if upgrading else list(versions.cluster_faults(version, existing, beside, unfinished))
    return version, repository if version != own else "", faults


def server_of_group_data(
    other_faults: Iterable[str] = (), replication: Replication | None = None, *, upgrading: bool = False
) -> ManagedServer:
    """Return this host's server; raise DeployError with all faults of its group data."""
    system = preflight.check_system(memory=MEMORY, disk=DISK)
    clients = host.data.get("postgres_clients") or []
    settings, given = host.data.get("postgres_settings") or {}, host.data.get("postgres_pitr") or {}
    pitr_faults = [*postgres_pitr.faults(given, settings), *_shared_stanza_faults(given)] if given else []
    rules, extensions = host.data.get("postgres_hba") or [], host.data.get("postgres_extensions") or {}
    tls, tls_faults = _checked_tls(host.data.get("postgres_tls") or {}, settings)
    version, repository, version_faults = version_of_group_data(system, upgrading=upgrading)
    faults = [
        *other_faults,
        *version_faults,
        *files.faults(clients, rules),
        *pitr_faults,
        *postgres_extensions.faults(extensions, _database_names()),
        *tls_faults,
        *_service_faults(settings),
    ]
    preflight.stop_on_faults(f"{host.name}: {fault}" for fault in faults)
    disk = _disk_size() if given or replication else 0
    pitr = Pitr.from_group_data(given, disk) if given else None
    stanza = pitr.stanza if pitr else ""
    replicated = postgres_replication.replication_settings(replication, stanza, disk) if replication else {}
    text = files.postgres_settings(
        host.data.get("postgres_memory") or system.memory,
        [*clients, *(each.name for each in replication.peers)] if replication else clients,
        {**(postgres_pitr.archive_settings(stanza) if pitr else {}), **replicated, **settings},
    )
    config = postgres_pitr.config_text(pitr, version, system.cpus) if pitr else Secret()
    peers = postgres_replication.access_rules(replication) if replication else []
    desired = postgres_extensions.desired_extensions(extensions)
    return ManagedServer(
        version,
        text,
        tuple(clients),
        (*peers, *rules),
        pitr,
        config,
        desired,
        tls,
        repository,
        system.codename,
        int(settings.get("port") or 5432),
        Pooler.from_group_data(host.data.postgres_pooler) if host.data.get("postgres_pooler") else None,
        Exporter(**host.data.postgres_exporter) if host.data.get("postgres_exporter") else None,
    )


def _service_faults(settings: Mapping[str, object]) -> Iterator[str]:
    """Yield each fault of the pooler and the exporter."""
    connections = str(settings.get("max_connections") or files.CONNECTIONS)
    if given := host.data.get("postgres_pooler"):
        yield from pooler.faults(given, int(connections) if connections.isdigit() else files.CONNECTIONS)
    if given := host.data.get("postgres_exporter"):
        yield from exporter.faults(given)
        if any(role.get("name") == exporter.ROLE.name for role in host.data.get("postgres_roles") or []):
            yield f"postgres_roles: {exporter.ROLE.name}: postgres_exporter creates this role; choose another name"


def _database_names() -> set[str]:
    """Return the names of the databases in group data, some of which belong to a role of the same name."""
    databases, roles = host.data.get("postgres_databases") or [], host.data.get("postgres_roles") or []
    return {str(each.get("name")) for each in [*databases, *(role for role in roles if role.get("database"))]}


def _checked_tls(given: Any, settings: Mapping[str, object]) -> tuple[Tls | None, list[str]]:
    if not given:
        return None, []
    faults = list(postgres_tls.reference_faults(given, settings))
    return (None, faults) if faults else postgres_tls.tls_of_group_data(given, datetime.now(UTC))


def _disk_size() -> int:
    return int(host.get_fact(CommandLines, DISK_SIZE)[0])


def _shared_stanza_faults(given: object) -> Iterable[str]:
    """Return a fault if another host of the group has this host's stanza."""
    of_hosts = {each.name: each.data.get("postgres_pitr") or {} for each in inventory.groups[GROUP]}
    stanzas = {
        name: str(each["stanza"]) for name, each in of_hosts.items() if isinstance(each, dict) and "stanza" in each
    }
    return postgres_pitr.shared_stanza_faults(host.name, stanzas) if host.name in stanzas else ()


def install_server(server: ManagedServer) -> None:
    """Install PostgreSQL, and pgBackRest if the server has point-in-time recovery, and create the cluster."""
    install_programs(server)
    operations.run_unless_exists(
        name="Cluster",
        path=f"{server.folder}/postgresql.conf",
        commands=[f"pg_createcluster {server.version} main"],
    )


def install_programs(server: ManagedServer) -> None:
    """Install PostgreSQL and what group data adds to it. This creates no cluster."""
    # Before the packages, which would create one.
    operations.write_file(
        name="Defaults for new clusters",
        text=files.CLUSTERS,
        dest="/etc/postgresql-common/createcluster.conf",
        mode="644",
    )
    if server.repository:
        versions.add_repository(server.repository, server.codename)
    else:
        versions.remove_repository(name="PostgreSQL's apt repository")
    pgbackrest = postgres_pitr.PACKAGES if server.pitr else ()
    operations.install_packages(
        name="Packages",
        packages=[
            f"postgresql-{server.version}",
            f"postgresql-client-{server.version}",
            *pgbackrest,
            *postgres_extensions.extension_packages(server.extensions, server.version),
        ],
    )


def configure_server(server: ManagedServer, *, create_stanza: bool = True, set_up_archive: bool = True) -> None:
    """Write the settings and access rules. Repositories come first: PostgreSQL never archives into nowhere."""
    if server.pitr and set_up_archive:
        archive.set_up(server.pitr, server.pitr_config, server.version, create_stanza=create_stanza)
    operations.write_file(
        name="Settings",
        text=server.settings,
        dest=server.settings_path,
        mode="644",
        check=files.settings_check_command(server.version, server.folder),
    )
    operations.write_file(
        name="Access rules",
        text=files.pg_hba(server.clients, server.rules, [exporter.ACCESS_RULE] if server.exporter else []),
        dest=server.access_path,
        owner="postgres:postgres",
        mode="640",
        check=files.keep_previous_command(server.access_path),
    )
    if server.tls:
        postgres_tls.write_files(server.tls, server.folder)
