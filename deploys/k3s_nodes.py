"""The operations on a node of a K3s cluster."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from pyinfra import host, inventory
from pyinfra.api import FileUploadCommand, FunctionCommand, Host, State, operation

from deploys import k3s_files, passwords
from deploys.k3s_files import BINARY, Node
from deploys.pieces import Lines, Steps, brought_up, quietly

STAGED, SUMS = "/usr/local/bin/.k3s.new", "/usr/local/bin/.k3s.sums"
BINARIES = {"x86_64": ("k3s", "amd64"), "aarch64": ("k3s-arm64", "arm64"), "armv7l": ("k3s-armhf", "arm")}


def installed() -> str:
    """The version of the binary that is on this host, or nothing."""
    told = host.get_fact(Lines, f"{BINARY} --version")
    return told[0].split()[2] if told else ""


@operation()
def binary_is_there(version: str, artefacts: str) -> Steps:
    """K3s of this version, live only after its checksum was found right."""
    if installed() == version:
        host.noop("K3s is there")
        return
    (machine,) = host.get_fact(Lines, "uname -m")
    file, architecture = BINARIES[machine]
    wanted = {STAGED: file, SUMS: f"sha256sum-{architecture}.txt"}
    for staged, name in wanted.items():
        if "://" in artefacts:
            url = f"{artefacts}/{quote(version)}/{name}"
            yield f"curl --fail --silent --show-error --location --retry 3 --output {staged} {url}"
        else:
            local = str(Path(artefacts).expanduser() / version / name)
            yield FileUploadCommand(local, staged, remote_temp_filename=host.get_temp_filename(staged))
    yield checksum_holds(file)
    yield f"chmod 755 {STAGED} && mv {STAGED} {BINARY} && rm {SUMS}"
    yield "cd /usr/local/bin && for name in kubectl crictl ctr; do ln --symbolic --force k3s $name; done"


def checksum_holds(file: str) -> str:
    said = f"the checksum of {file} is not the one that its release tells; nothing was replaced"
    return (
        f'awk \'$2 == "{file}" {{print $1 "  {STAGED}"}}\' {SUMS} | sha256sum --check --status --strict '
        f"|| {{ rm --force {STAGED} {SUMS}; echo '{said}' >&2; exit 1; }}"
    )


@operation()
def node_is_up(who: Sequence[str], node: Node, first: str, version: str, files: Sequence[str], limit: int) -> Steps:
    """Those who are named run with the files that are there, and are ready; on others it does nothing.

    Every host has each of these operations: pyinfra puts them in order only where hosts have them in common.
    """
    if host.name not in who:
        return
    # An agent that is refused never tells systemd that it is ready, so nobody waits for systemctl.
    # One that is still trying to start is to read its files anew, too.
    yield from brought_up(node.unit, files, "restart --no-block", when_stopped="restart --no-block")
    if not _is_up(host, node, first, version):
        yield FunctionCommand(_wait, (node, first, version, limit), {})


def _is_up(host: Host, node: Node, first: str, version: str) -> bool:
    runs, _ = quietly(host, f"systemctl is-active --quiet {node.unit}")
    return runs and k3s_files.is_up(_node(_host(first), node.name), version)


def _wait(state: State, host: Host, node: Node, first: str, version: str, limit: int) -> bool:
    end = time.monotonic() + limit
    while not _is_up(host, node, first, version):
        if time.monotonic() > end:
            _, journal = quietly(host, f"journalctl --unit={node.unit} --lines=15 --no-pager --output=cat")
            host.log("\n    ".join([f"node {node.name} is not ready after {limit} s; its journal says:", *journal]))
            return False
        time.sleep(0.5)
    return True


def _host(name: str) -> Host:
    return inventory.get_host(name)


def _node(server: Host, name: str) -> dict[str, Any] | None:
    told, printed = quietly(server, f"{BINARY} kubectl get nodes --output=json 2>/dev/null")
    nodes = json.loads("".join(printed))["items"] if told else []
    return next((node for node in nodes if node["metadata"]["name"] == name), None)


@operation()
def taints_are_right(node: Node, first: str) -> Steps:
    """K3s gives taints at the first registration only; later ones come through its API."""
    there = _node(_host(first), node.name) or {}
    ours = host.get_fact(Lines, "cat /etc/rancher/node/groundcrew-taints")
    if changes := k3s_files.taint_changes(node.taints, there, ours):
        yield FunctionCommand(_taint, (first, node.name, tuple(changes)), {})
    if sorted(ours) != sorted(node.taints):
        lines = "".join(f"{taint}\\n" for taint in node.taints)
        yield f"mkdir --parents /etc/rancher/node && printf '{lines}' > /etc/rancher/node/groundcrew-taints"


def _taint(state: State, host: Host, first: str, name: str, changes: Sequence[str]) -> bool:
    told, printed = quietly(_host(first), f"{BINARY} kubectl taint node {name} {' '.join(changes)} 2>&1")
    if not told:
        host.log("\n".join(printed))
    return told


@operation()
def kubeconfig_is_here(cluster: str, url: str, to: Path, merge: bool) -> Steps:
    """Fetched to a file of this machine that only its owner may read."""
    wanted = _kubeconfig(host, cluster, url)
    files = [to, *([Path.home() / ".kube/config"] if merge else [])]
    if not wanted or any(_with(file, wanted, alone=file == to) != _read(file) for file in files):
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
    there = file.exists() and not file.stat().st_mode & 0o077
    return yaml.safe_load(file.read_text()) or {} if there else {}


def kept_alone(file: Path, text: str) -> None:
    """Write a file of this machine that nobody else may read, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as opened:
        opened.write(text)
    new.replace(file)


def token_of(environment: str, named: dict[str, Any]) -> str:
    """The token that group data names, else the one that this machine keeps for a cluster; made if there is none."""
    if named:
        return passwords.revealed("k3s_token", named)
    file = Path.home() / ".config/groundcrew" / f"{environment}.k3s-token"
    if not file.exists():
        kept_alone(file, secrets.token_hex(32) + "\n")
    return file.read_text().strip()
