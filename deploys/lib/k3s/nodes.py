"""Operations on a node of a K3s cluster."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib import passwords, preflight
from deploys.lib.facts import HostFacts, operation_with_facts
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import files as k3s_files
from deploys.lib.k3s import node_config
from deploys.lib.k3s.cluster import StepFailed
from deploys.lib.k3s.files import Node
from deploys.lib.operations import (
    CommandLines,
    Steps,
    journal,
    on_this_machine,
    run_silently,
    unit_and_files,
    unit_steps,
)


@operation_with_facts(lambda node, files, **_: unit_and_files(node.unit, files))
def start_node(
    facts: HostFacts,
    hosts: Sequence[str],
    node: Node,
    servers: Sequence[str],
    version: str,
    files: Sequence[str],
    limit: int,
) -> Steps:
    """Start these hosts' nodes, or restart them with changed files, and wait until they are ready.

    All hosts of the cluster get the operation: pyinfra keeps the order only of operations that hosts share.
    """
    if host.name not in hosts:
        return
    # A refused agent never reports to systemd that it is ready, so don't wait for systemctl.
    # A node that still tries to start must read its new files too.
    yield from unit_steps(facts, node.unit, files, "restart --no-block", when_stopped="restart --no-block")
    if not is_running(host, node, servers, version):
        yield FunctionCommand(_wait, (node, servers, version, limit), {})


def is_running(host: Host, node: Node, servers: Sequence[str], version: str) -> bool:
    """Return whether a host's node is active, and ready at this version."""
    active, _ = k3s_cluster.run_on(host.name, f"systemctl is-active --quiet {node.unit}")
    return active and k3s_files.is_ready_at((k3s_cluster.read_nodes(*servers) or {}).get(node.name), version)


def _wait(state: State, host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> bool:
    return k3s_cluster.log_failure(host, lambda: wait_until_ready(host, node, servers, version, limit))


def wait_until_ready(host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> None:
    """Wait until a node is ready at this version; after `limit` seconds raise StepFailed with its journal."""
    end = time.monotonic() + limit
    while not is_running(host, node, servers, version):
        if time.monotonic() > end:
            _, lines = k3s_cluster.run_on(host.name, journal(node.unit))
            message = f"node {node.name} is not ready after {limit} s; fix what its journal says, or raise k3s_wait:"
            raise StepFailed("\n    ".join([message, *lines]))
        time.sleep(0.5)


@operation()
def update_taints(node: Node, servers: Sequence[str]) -> Steps:
    """Set the node's taints through the API; K3s itself sets them only when the node first registers."""
    yield from _update("taint", node, node.taints, servers, k3s_files.taint_changes)


@operation()
def update_labels(node: Node, servers: Sequence[str]) -> Steps:
    """Set the node's labels through the API: the kubelet refuses most kubernetes.io labels, and removes none."""
    yield from _update("label", node, node.labels, servers, k3s_files.label_changes)


def _update(
    kind: str,
    node: Node,
    desired: Sequence[str],
    servers: Sequence[str],
    changes_of: Callable[[Sequence[str], Mapping[str, Any], Sequence[str]], list[str]],
) -> Steps:
    """Set taints or labels, and remove those of earlier runs, which a file on the host lists. Others stay."""
    current = (k3s_cluster.read_nodes(*servers) or {}).get(node.name, {})
    list_file = f"/etc/rancher/node/groundcrew-{kind}s"
    ours = host.get_fact(CommandLines, f"cat {list_file}")
    if changes := changes_of(desired, current, ours):
        yield FunctionCommand(_change, (tuple(servers), kind, node.name, tuple(changes)), {})
    if sorted(ours) != sorted(desired):
        lines = "".join(f"{each}\\n" for each in desired)
        yield f"mkdir --parents /etc/rancher/node && printf '{lines}' > {list_file}"


def _change(state: State, host: Host, servers: Sequence[str], kind: str, name: str, changes: Sequence[str]) -> bool:
    arguments, failure = (kind, "node", name, "--overwrite", *changes), f"changing the {kind}s of node {name} failed"
    server = k3s_cluster.responsive_server(*servers) or servers[0]
    return k3s_cluster.log_failure(host, lambda: k3s_cluster.kubectl_or_fail(server, *arguments, failure=failure))


@operation()
@on_this_machine
def fetch_kubeconfig(cluster: str, url: str, to: Path, merge: bool) -> Steps:
    """Write the cluster's kubeconfig to a file on your machine that only its owner can read."""
    fetched = _kubeconfig(host, cluster, url)
    files = [to, *([Path.home() / ".kube/config"] if merge else [])]
    if not fetched or not all(
        _is_private(file) and _content(file, fetched, whole=file == to) == _read(file) for file in files
    ):
        yield FunctionCommand(_fetch, (cluster, url, to, tuple(files)), {})


def _fetch(state: State, host: Host, name: str, url: str, to: Path, files: Sequence[Path]) -> bool:
    fetched = _kubeconfig(host, name, url)
    for file in files if fetched else []:
        write_private_file(file, yaml.safe_dump(_content(file, fetched, whole=file == to), sort_keys=False))
    return bool(fetched)


def _kubeconfig(host: Host, name: str, url: str) -> dict[str, Any]:
    ok, output = run_silently(host, "cat /etc/rancher/k3s/k3s.yaml 2>/dev/null")
    return k3s_files.named_kubeconfig("\n".join(output), name, url) if ok else {}


def _content(file: Path, fetched: Mapping[str, Any], *, whole: bool) -> dict[str, Any]:
    return dict(fetched) if whole else k3s_files.merge_kubeconfig(_read(file), fetched)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text()) if file.exists() else None
    except yaml.YAMLError:
        content = "not YAML"
    if not isinstance(content, dict | None):
        raise preflight.DeployError(f"{file} is not a kubeconfig; correct it, or move it away")
    return content or {}


def _is_private(file: Path) -> bool:
    return file.exists() and not file.stat().st_mode & 0o077


def write_private_file(file: Path, text: str) -> None:
    """Write a file on your machine that only its owner can read, by rename. A symbolic link stays one."""
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(text)
    new.replace(file)


def cluster_token(environment: str, given: dict[str, Any]) -> tuple[str, str]:
    """Return the token and its source: group data, the file on your machine, or "" for a new token."""
    if given:
        return passwords.reveal("k3s_token", given), "k3s_token"
    file = token_file(environment)
    return (file.read_text().strip(), str(file)) if file.exists() else (_new_token(environment), "")


def agents_token(token: str, given: dict[str, Any]) -> str:
    """Return the token with which agents join; that of servers is a key to the whole cluster."""
    return passwords.reveal("k3s_agent_token", given) if given else node_config.derived_agent_token(token)


def unit_variables(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables for the unit; a proxy's address can hold a password, so it can be kept elsewhere."""
    values = {
        name: passwords.reveal(f"k3s_environment: {name}", value) if isinstance(value, dict) else str(value)
        for name, value in given.items()
    }
    preflight.stop_on_faults(k3s_files.environment_faults(values))
    return values


def token_file(environment: str) -> Path:
    """Return the file on your machine that keeps the token of an environment's cluster."""
    return Path.home() / ".config/groundcrew" / f"{environment}.k3s-token"


@cache
def _new_token(environment: str) -> str:
    """Return a new token, the same for all hosts of a run."""
    return secrets.token_hex(32)


@operation()
@on_this_machine
def save_token(environment: str) -> Steps:
    """Save a new token on your machine, before a host gets it."""
    if not token_file(environment).exists():
        yield FunctionCommand(_save_token, (environment,), {})


def _save_token(state: State, host: Host, environment: str) -> None:
    write_private_file(token_file(environment), _new_token(environment) + "\n")


@cache
def token_on_server(server: str, file: str) -> str:
    """Return a token that a server keeps for its cluster, or ""."""
    ok, output = k3s_cluster.run_on(server, f"cat {file}")
    return output[0] if ok and output else ""
