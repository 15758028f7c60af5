"""The operations on a node of a K3s cluster."""

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
from deploys.lib.facts import HostFacts, looking
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import files as k3s_files
from deploys.lib.k3s.cluster import NotDone
from deploys.lib.k3s.files import Node
from deploys.lib.operations import Lines, Steps, brought_up, of_unit, quietly


@looking(lambda node, files, **_: of_unit(node.unit, files))
def node_is_up(
    seen: HostFacts,
    who: Sequence[str],
    node: Node,
    servers: Sequence[str],
    version: str,
    files: Sequence[str],
    limit: int,
) -> Steps:
    """Those who are named run with the files that are there, and are ready; on others it does nothing.

    Every host has each of these operations: pyinfra puts them in order only where hosts have them in common.
    """
    if host.name not in who:
        return
    # An agent that is refused never tells systemd that it is ready, so nobody waits for systemctl.
    # One that is still trying to start is to read its files anew, too.
    yield from brought_up(seen, node.unit, files, "restart --no-block", when_stopped="restart --no-block")
    if not is_up(host, node, servers, version):
        yield FunctionCommand(_wait, (node, servers, version, limit), {})


def is_up(host: Host, node: Node, servers: Sequence[str], version: str) -> bool:
    runs, _ = k3s_cluster.ask(host.name, f"systemctl is-active --quiet {node.unit}")
    return runs and k3s_files.is_up((k3s_cluster.nodes(*servers) or {}).get(node.name), version)


def _wait(state: State, host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> bool:
    return k3s_cluster.logged(host, lambda: wait_until_up(host, node, servers, version, limit))


def wait_until_up(host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> None:
    """A node is ready with a version soon, or its journal tells why it is not."""
    end = time.monotonic() + limit
    while not is_up(host, node, servers, version):
        if time.monotonic() > end:
            _, journal = k3s_cluster.ask(host.name, f"journalctl --unit={node.unit} --lines=15 --no-pager --output=cat")
            said = f"node {node.name} is not ready after {limit} s; its journal says:"
            raise NotDone("\n    ".join([said, *journal]))
        time.sleep(0.5)


@operation()
def taints_are_right(node: Node, servers: Sequence[str]) -> Steps:
    """K3s gives taints at the first registration only; later ones come through its API."""
    yield from _marked("taint", node, node.taints, servers, k3s_files.taint_changes)


@operation()
def labels_are_right(node: Node, servers: Sequence[str]) -> Steps:
    """K3s adds labels, and takes none away."""
    yield from _marked("label", node, node.labels, servers, k3s_files.label_changes)


def _marked(
    verb: str,
    node: Node,
    wanted: Sequence[str],
    servers: Sequence[str],
    changes_of: Callable[[Sequence[str], Mapping[str, Any], Sequence[str]], list[str]],
) -> Steps:
    """What we gave a node is noted there, so that nothing is taken away that somebody else gave it."""
    there = (k3s_cluster.nodes(*servers) or {}).get(node.name, {})
    noted = f"/etc/rancher/node/groundcrew-{verb}s"
    ours = host.get_fact(Lines, f"cat {noted}")
    if changes := changes_of(wanted, there, ours):
        yield FunctionCommand(_mark, (servers[0], verb, node.name, tuple(changes)), {})
    if sorted(ours) != sorted(wanted):
        lines = "".join(f"{each}\\n" for each in wanted)
        yield f"mkdir --parents /etc/rancher/node && printf '{lines}' > {noted}"


def _mark(state: State, host: Host, server: str, verb: str, name: str, changes: Sequence[str]) -> bool:
    words, otherwise = (verb, "node", name, "--overwrite", *changes), f"the {verb}s of node {name} could not be changed"
    return k3s_cluster.logged(host, lambda: k3s_cluster.must_kubectl(server, *words, otherwise=otherwise))


@operation()
def kubeconfig_is_here(cluster: str, url: str, to: Path, merge: bool) -> Steps:
    """Fetched to a file of this machine that only its owner may read."""
    wanted = _kubeconfig(host, cluster, url)
    files = [to, *([Path.home() / ".kube/config"] if merge else [])]
    if not wanted or not all(
        _is_closed(file) and _with(file, wanted, alone=file == to) == _read(file) for file in files
    ):
        yield FunctionCommand(_fetch, (cluster, url, to, tuple(files)), {})


def _fetch(state: State, host: Host, name: str, url: str, to: Path, files: Sequence[Path]) -> bool:
    wanted = _kubeconfig(host, name, url)
    for file in files if wanted else []:
        kept_alone(file, yaml.safe_dump(_with(file, wanted, alone=file == to), sort_keys=False))
    return bool(wanted)


def _kubeconfig(host: Host, name: str, url: str) -> dict[str, Any]:
    told, printed = quietly(host, "cat /etc/rancher/k3s/k3s.yaml 2>/dev/null")
    return k3s_files.kubeconfig("\n".join(printed), name, url) if told else {}


def _with(file: Path, wanted: Mapping[str, Any], *, alone: bool) -> dict[str, Any]:
    return dict(wanted) if alone else k3s_files.merged(_read(file), wanted)


def _read(file: Path) -> dict[str, Any]:
    try:
        told = yaml.safe_load(file.read_text()) if file.exists() else None
    except yaml.YAMLError:
        told = "no YAML"
    if not isinstance(told, dict | None):
        raise preflight.DeployError(f"{file} is no kubeconfig; move it away, or mend it")
    return told or {}


def _is_closed(file: Path) -> bool:
    return file.exists() and not file.stat().st_mode & 0o077


def kept_alone(file: Path, text: str) -> None:
    """Write a file of this machine that nobody else may read, whole or not at all; a link stays one."""
    file = file.resolve()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(text)
    new.replace(file)


def token_of(environment: str, named: dict[str, Any]) -> tuple[str, str]:
    """The token that group data names, else the one that this machine keeps for a cluster; and where it is from."""
    if named:
        return passwords.revealed("k3s_token", named), "k3s_token"
    file = token_file(environment)
    return (file.read_text().strip(), str(file)) if file.exists() else (_new_token(environment), "")


def token_file(environment: str) -> Path:
    return Path.home() / ".config/groundcrew" / f"{environment}.k3s-token"


@cache
def _new_token(environment: str) -> str:
    """The same for all hosts of a run."""
    return secrets.token_hex(32)


@operation()
def token_is_kept(environment: str) -> Steps:
    """Before any host hears of it, a new token is written to this machine."""
    if not token_file(environment).exists():
        yield FunctionCommand(_keep_token, (environment,), {})


def _keep_token(state: State, host: Host, environment: str) -> None:
    kept_alone(token_file(environment), _new_token(environment) + "\n")


def token_there(server: str) -> str:
    """The token with which a server's cluster was founded, if it has one."""
    told, printed = k3s_cluster.ask(server, f"cat {k3s_files.TOKEN}")
    return printed[0] if told and printed else ""
