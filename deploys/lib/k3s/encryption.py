"""Rotate the key that encrypts secrets in etcd."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s import nodes, rolling
from deploys.lib.k3s.cluster import ANSWER_TIMEOUT, StepFailed
from deploys.lib.k3s.files import BINARY, Node
from deploys.lib.operations import Steps

FINISHED = "reencrypt_finished"
STATUS = f"timeout {ANSWER_TIMEOUT} {BINARY} secrets-encrypt status"


@dataclass(frozen=True)
class EncryptionStatus:
    """How a cluster encrypts secrets."""

    enabled: bool = False
    stage: str = ""
    same_on_all_servers: bool = False  # else the servers must restart, to read the new key

    @property
    def is_settled(self) -> bool:
        return self.stage in ("start", FINISHED) and self.same_on_all_servers


def parse_encryption_status(lines: Sequence[str]) -> EncryptionStatus:
    """Return the status in the output of `k3s secrets-encrypt status`."""
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    return EncryptionStatus(
        enabled=values.get("Encryption Status", "").startswith("Enabled"),
        stage=values.get("Current Rotation Stage", "").strip(),
        same_on_all_servers=values.get("Server Encryption Hashes", "").startswith("All hashes match"),
    )


def faults(value: str, environment: str, status: EncryptionStatus) -> Iterator[str]:
    """Yield each reason why the key can't be rotated."""
    if value != environment:
        yield f"a new key restarts all servers, one by one; confirm with --data k3s_rekey={environment}"
    if not status.enabled:
        yield (
            "this cluster does not encrypt secrets, or its first server does not answer; k3s.py switches encryption on "
            "only when it creates a cluster, with k3s_hardened or secrets-encryption in k3s_config"
        )


def read_encryption_status(server: str) -> EncryptionStatus:
    """Return the status as a server reports it."""
    ok, lines = k3s_cluster.run_on(server, STATUS)
    return parse_encryption_status(lines) if ok else EncryptionStatus()


@operation()
def rotate_key(server: str, limit: int) -> Steps:
    """Make a new key and encrypt all secrets with it, unless an interrupted run did."""
    if host.name == server:
        yield FunctionCommand(_rotate, (server, limit), {})


def _rotate(state: State, host: Host, server: str, limit: int) -> bool:
    return k3s_cluster.log_failure(host, lambda: _rotate_or_fail(server, limit))


def _rotate_or_fail(server: str, limit: int) -> None:
    if read_encryption_status(server).is_settled:
        k3s_cluster.run_or_fail(server, f"{BINARY} secrets-encrypt rotate-keys", "rotating the key failed")
    end = time.monotonic() + limit
    while (status := read_encryption_status(server)).stage != FINISHED:
        if time.monotonic() > end:
            raise StepFailed(
                f"not all secrets are encrypted with the new key after {limit} s (stage: {status.stage or 'unknown'}); "
                "nothing was restarted. Wait and run this again: it continues"
            )
        time.sleep(1)


@operation()
def restart_server(server: str, node: Node, servers: Sequence[str], version: str, limit: int) -> Steps:
    """Restart a server, which then reads the new key, and wait until it is ready."""
    if host.name == server:
        yield FunctionCommand(_restart, (node, servers, version, limit), {})


def _restart(state: State, host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> bool:
    return k3s_cluster.log_failure(host, lambda: _restart_or_fail(host, node, servers, version, limit))


def _restart_or_fail(host: Host, node: Node, servers: Sequence[str], version: str, limit: int) -> None:
    if fault := rolling.restart_fault(k3s_cluster.require_node(node.name, *servers), node.name):
        raise StepFailed(fault)
    restart = f"systemctl restart --no-block {node.unit}"
    k3s_cluster.run_or_fail(host.name, restart, f"restarting node {node.name} failed")
    nodes.wait_until_ready(host, node, servers, version, limit)
