"""Set up a K3s cluster: one server, or three or five with etcd, and agents.

    pyinfra inventories/staging deploys/k3s.py

Group data: inventories/group_data/k3s_servers.py for the cluster; k3s_labels, k3s_taints, k3s_address and
k3s_host_config for a host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pyinfra import host, inventory

from deploys.lib import operations, preflight
from deploys.lib.header import HEADER
from deploys.lib.host import firewall
from deploys.lib.host.base import apply_rules
from deploys.lib.k3s import (
    artefacts,
    files,
    hardening,
    namespaces,
    node_config,
    nodes,
    peers,
    snapshots,
    versions,
    virtual_ip,
)
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s.files import BINARY, CONFIG, MODULES_FILE, REGISTRIES, SYSCTL_FILE
from deploys.lib.k3s.node_config import Cluster
from deploys.lib.operations import CommandLines
from inventories import Secret

MEMORY, DISK = 900, 3000  # MiB


def address(name: str) -> str:
    """Return the address at which other nodes reach a host."""
    data = inventory.get_host(name).data
    return str(data.get("k3s_address") or data.get("ssh_hostname") or name)


def endpoint(settings: Mapping[str, Any], first: str) -> str:
    """Return the address at which people reach the API."""
    given = settings.get("k3s_endpoint") or settings.get("k3s_virtual_ip") or settings.get("ssh_hostname")
    return str(given or address(first))


hosts = k3s_cluster.cluster_hosts()
if host.name in hosts.all:
    settings, first = hosts.settings, hosts.first
    is_hardened, shared_ip = bool(settings.get("k3s_hardened")), str(settings.get("k3s_virtual_ip") or "")
    preflight.check_system(memory=MEMORY, disk=DISK)
    preflight.stop_on_faults(files.faults(settings, len(hosts.servers)))
    data_of_hosts = {name: inventory.get_host(name).data.dict() for name in hosts.all}
    preflight.stop_on_faults(node_config.config_faults(settings, data_of_hosts, hosts.servers))
    addresses = {name: str(data.get("k3s_address") or "") for name, data in data_of_hosts.items()}
    preflight.stop_on_faults(peers.firewall_faults(settings.get("k3s_firewall"), addresses))
    used = [address(name) for name in hosts.all]
    preflight.stop_on_faults(virtual_ip.virtual_ip_faults(shared_ip, used, str(settings.get("k3s_registration") or "")))
    hardware = host.get_fact(CommandLines, k3s_cluster.HARDWARE)
    preflight.stop_on_faults(k3s_cluster.cgroup_faults(host.name, hardware))
    wanted, dropped = settings.get("k3s_namespaces") or [], str(settings.get("k3s_drop_namespaces") or "").split(",")
    preflight.stop_on_faults(namespaces.deletion_faults(dropped, wanted))
    if host.name == first:
        preflight.stop_on_faults(files.identity_faults(k3s_cluster.host_identities(hosts)))
        preflight.stop_on_faults(k3s_cluster.second_cluster_faults(hosts))
        encrypts = (settings.get("k3s_config") or {}).get("secrets-encryption", is_hardened)
        _, state = k3s_cluster.run_on(first, hardening.ENCRYPTION_STATE)
        preflight.stop_on_faults(hardening.encryption_faults(state, wanted=bool(encrypts)))
        if not state:
            own = [*used, *peers.own_addresses(hardware)]
            preflight.stop_on_faults(peers.network_faults(settings.get("k3s_config") or {}, own))
    version, source = settings["k3s_version"], settings["k3s_artefacts"]
    installed = artefacts.installed_version()
    if installed not in ("", version):
        raise preflight.DeployError(
            f"{host.name}: K3s {installed} is installed and k3s_version is {version}, but k3s.py does not upgrade; "
            f"run deploys/k3s_upgrade.py, or set k3s_version to {installed}"
        )
    if not installed:
        of_servers = k3s_cluster.server_versions(*hosts.servers)
        preflight.stop_on_faults(versions.join_faults(host.name, version, of_servers))

    token, token_source = nodes.cluster_token(hosts.environment, settings.get("k3s_token") or {})
    agent_token = nodes.agents_token(token, settings.get("k3s_agent_token") or {})
    if host.name in hosts.servers:
        tokens = [nodes.token_on_server(each, files.TOKEN) for each in hosts.servers]
        preflight.stop_on_faults(files.token_faults(host.name, tokens, token, token_source))
        current = nodes.token_on_server(host.name, files.AGENT_TOKEN)
        preflight.stop_on_faults(files.agent_token_faults(host.name, current, agent_token))
    snapshot_settings = settings.get("k3s_snapshots") or {}
    keys = snapshots.s3_keys(snapshot_settings["s3"]) if snapshot_settings.get("s3") else ("", "")
    cluster = Cluster(
        version=version,
        addresses=tuple(map(address, hosts.servers)),
        token=token,
        agent_token=agent_token,
        endpoint=endpoint(settings, first),
        registration=str(settings.get("k3s_registration") or shared_ip),
        config=settings.get("k3s_config") or {},
        agent_config=settings.get("k3s_agent_config") or {},
        snapshots=node_config.snapshot_settings(snapshot_settings, *keys, len(hosts.servers)),
        hardened=is_hardened,
    )
    node = replace(
        k3s_cluster.this_node(hosts),
        address=address(host.name),
        interface=node_config.interface_of(str(host.data.get("k3s_address") or ""), hardware),
        config=host.data.get("k3s_host_config") or {},
    )
    variables = nodes.unit_variables(settings.get("k3s_environment") or {})
    limit = int(settings.get("k3s_wait") or 300)
    config = node_config.node_config(cluster, node, creates_cluster=host.name == first)
    config_yaml = Secret(literal=node_config.config_yaml(config))
    unit_file = f"/etc/systemd/system/{node.unit}"
    registries = HEADER + yaml.safe_dump(settings.get("k3s_registries") or {})

    if host.name == first and not settings.get("k3s_token"):
        nodes.save_token(name="Save the token on your machine", environment=hosts.environment)
    sysctl = files.sysctl_settings(
        hardening.KERNEL_SETTINGS if is_hardened else {}, ipv6=node_config.uses_ipv6({**cluster.config, **config})
    )
    operations.write_file(name="Kernel settings", text=sysctl, dest=SYSCTL_FILE, mode="644")
    operations.write_file(name="Kernel modules", text=files.MODULES, dest=MODULES_FILE, mode="644")
    operations.ensure_unit(
        name="Apply kernel settings",
        unit="systemd-sysctl.service",
        files=[SYSCTL_FILE],
        oneshot=True,
    )
    operations.install_packages(name="Packages", packages=["ca-certificates", "curl"])
    environment_file = f"{unit_file}.env"
    if variables or environment_file in hardware:
        environment = Secret(literal=files.unit_environment(variables, [address(name) for name in hosts.all]))
        operations.write_secret_file(name="Environment", dest=environment_file, text=environment)
    artefacts.install_binary(name=f"K3s {version}", version=version, artefacts=source)
    files_of_node = [CONFIG, REGISTRIES, unit_file, environment_file, BINARY]
    if suffix := artefacts.images_suffix(settings.get("k3s_airgap")):
        files_of_node.append(artefacts.images_file(suffix))
        artefacts.install_images(name=f"Images of {version}", version=version, artefacts=source, suffix=suffix)
    operations.ensure_folder(name="Directory of the configuration", path="/etc/rancher/k3s", mode="755")
    if is_hardened and node.server:
        files_of_node += [hardening.ADMISSION, hardening.AUDIT_POLICY]
        policy, admission = hardening.audit_policy(), hardening.admission_configuration()
        operations.write_file(name="Admission", dest=hardening.ADMISSION, text=admission, mode="600")
        operations.write_file(name="Audit policy", dest=hardening.AUDIT_POLICY, text=policy, mode="600")
        operations.ensure_folder(name="Directory of servers", path=hardening.SERVER_FOLDER, mode="700")
        operations.ensure_folder(name="Directory of the audit log", path=hardening.AUDIT_FOLDER, mode="700")
    if shared_ip and node.server:
        interface = node_config.interface_of(node.address, hardware)
        pod = virtual_ip.kube_vip_pod(shared_ip, interface, settings.get("k3s_virtual_ip_image") or virtual_ip.IMAGE)
        operations.write_file(name="Virtual IP address", dest=virtual_ip.MANIFEST, text=pod, mode="600")
    else:
        virtual_ip.remove_virtual_ip(name="No virtual IP address")
    operations.write_secret_file(name="Configuration", dest=CONFIG, text=config_yaml)
    operations.write_secret_file(name="Registries", dest=REGISTRIES, text=Secret(literal=registries))
    operations.write_file(
        name="Unit",
        text=files.unit_file("server" if node.server else "agent", node.unit),
        dest=unit_file,
        mode="644",
    )
    operations.reload_systemd(name="Reload systemd", files=[unit_file])

    peers.remove_old_firewall(name="Remove the firewall of an earlier version")
    if peers.is_wanted(settings.get("k3s_firewall"), addresses, has_base=firewall.FILE in hardware):
        operations.install_packages(name="nftables", packages=["nftables"])
        apply_rules()
    namespaces.remove_old_manifest(name="Remove the old manifest of namespaces")
    # Start servers one at a time, since etcd admits one learner; then all agents together.
    for group in host.loop([*([server] for server in hosts.servers), list(hosts.agents)]):
        nodes.start_node(
            name="Start agents" if group == list(hosts.agents) else f"Start server {group[0]}",
            hosts=group,
            node=node,
            servers=hosts.servers,
            version=version,
            files=files_of_node,
            limit=limit,
        )
    nodes.update_taints(name="Taints", node=node, servers=hosts.servers)
    nodes.update_labels(name="Labels", node=node, servers=hosts.servers)
    if host.name == first:
        admins = settings.get("k3s_admins") or []
        manifest = namespaces.namespaces_manifest(wanted, admins, hardened=is_hardened)
        namespaces.apply_namespaces(name="Namespaces", manifest=manifest, servers=hosts.servers)
        namespaces.delete_namespaces(
            name="Namespaces to delete",
            names=dropped,
            given=wanted,
            servers=hosts.servers,
        )
        nodes.fetch_kubeconfig(
            name="Kubeconfig",
            cluster=hosts.environment,
            url=cluster.url,
            to=Path(settings.get("k3s_kubeconfig") or f"~/.kube/{hosts.environment}.yaml").expanduser(),
            merge=bool(settings.get("k3s_kubeconfig_merge")),
        )
