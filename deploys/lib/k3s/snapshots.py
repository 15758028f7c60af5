"""List etcd snapshots, and restore a cluster from one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, Host, State, operation

from deploys.lib import passwords
from deploys.lib.k3s import cluster as k3s_cluster
from deploys.lib.k3s.cluster import ClusterHosts, StepFailed
from deploys.lib.k3s.files import BINARY, CONFIG, DATA, S3_KEYS, UNITS, Node
from deploys.lib.operations import CommandLines, Steps, journal
from deploys.lib.preflight import DeployError

RESTORED_FILE = f"{DATA}/groundcrew-restored"  # the name of the snapshot that this node was restored from
UNIT = "groundcrew-k3s-restore.service"
ENVIRONMENT_FILES = ("/etc/default/k3s", "/etc/sysconfig/k3s", f"/etc/systemd/system/{UNITS[0]}.env")  # of K3s's unit
STOPPED = ["inactive", "disabled"]
SNAPSHOTS_SHOWN = 10
AMAZON = "s3.amazonaws.com"  # where K3s writes snapshots by default


@dataclass(frozen=True, order=True)
class EtcdSnapshot:
    """A snapshot that can be restored."""

    taken: datetime
    name: str
    size: int
    location: str  # a folder on the first server, or s3://…

    def __str__(self) -> str:
        return f"{self.name}  {self.taken:%Y-%m-%d %H:%M} UTC  {self.size / 1e6:.1f} MB  {self.location}"


def list_snapshots(cluster: ClusterHosts) -> list[EtcdSnapshot]:
    """Return the snapshots on the first server and in S3, newest first. This does not need K3s, which can be broken."""
    s3 = (cluster.settings.get("k3s_snapshots") or {}).get("s3") or {}
    return sorted([*_on_disk(cluster.first, _folder(cluster.settings)), *(_in_s3(s3) if s3 else ())], reverse=True)


def _folder(settings: Mapping[str, Any]) -> str:
    return str((settings.get("k3s_config") or {}).get("etcd-snapshot-dir") or f"{DATA}/server/db/snapshots")


def _on_disk(server: str, folder: str) -> Iterator[EtcdSnapshot]:
    _, lines = k3s_cluster.run_on(
        server, f"find {folder} -maxdepth 1 -type f -printf '%T@ %s %f\\n' 2>/dev/null || true"
    )
    for line in lines:
        taken, size, name = line.split(" ", 2)
        yield EtcdSnapshot(datetime.fromtimestamp(float(taken), UTC), name, int(size), folder)


def _in_s3(s3: Mapping[str, Any]) -> Iterator[EtcdSnapshot]:
    from botocore.exceptions import BotoCoreError, ClientError

    folder = f"{s3['folder']}/" if s3.get("folder") else ""
    pages = s3_client(s3).get_paginator("list_objects_v2").paginate(Bucket=s3["bucket"], Prefix=folder, Delimiter="/")
    try:
        for item in (item for page in pages for item in page.get("Contents", ())):
            name = item["Key"].removeprefix(folder)
            yield EtcdSnapshot(
                item["LastModified"].astimezone(UTC), name, item["Size"], f"s3://{s3['bucket']}/{folder}"
            )
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"k3s_snapshots: s3: listing the bucket {s3['bucket']} failed: {error}") from None


def s3_client(s3: Mapping[str, Any]) -> Any:
    """Return a client of the server and region that K3s itself asks."""
    import boto3
    from botocore.config import Config

    key, secret = s3_keys(s3)
    region, scheme = s3.get("region") or "us-east-1", "http" if s3.get("insecure") else "https"
    endpoint = s3.get("endpoint") or AMAZON
    if endpoint == AMAZON:  # which serves the buckets of us-east-1 only; K3s asks the region, too
        endpoint = f"s3.{region}.amazonaws.com"
    return boto3.client(
        "s3",
        endpoint_url=f"{scheme}://{endpoint}",
        region_name=region,
        aws_access_key_id=key or None,  # none: those of your own login
        aws_secret_access_key=secret or None,
        config=Config(connect_timeout=10, s3={"addressing_style": "path"}),
    )


def s3_keys(s3: Mapping[str, Any]) -> tuple[str, str]:
    """Return the access key and the secret key of the bucket; two times "" if group data names none."""
    if not any(name in s3 for name in S3_KEYS):
        return "", ""
    key, secret = (passwords.reveal(f"k3s_snapshots: s3: {name}", s3[name]) for name in S3_KEYS)
    return key, secret


def faults(value: str, environment: str, snapshots: Sequence[EtcdSnapshot]) -> Iterator[str]:
    """Yield a fault, with a list of the snapshots, if the value of k3s_restore does not name one."""
    listed = "".join(f"\n    {each}" for each in snapshots[:SNAPSHOTS_SHOWN]) or " none"
    listed += f"\n    and {len(snapshots) - SNAPSHOTS_SHOWN} older ones" if len(snapshots) > SNAPSHOTS_SHOWN else ""
    example = f"--data k3s_restore={environment}/{snapshots[0].name if snapshots else 'SNAPSHOT'}"
    target, _, name = value.partition("/")
    if not value:
        yield f"k3s_restore is missing; name a snapshot to restore {environment} from: {example}; snapshots:{listed}"
    elif target != environment or not name:
        yield f"k3s_restore: {value} is not a snapshot of {environment}; write ENVIRONMENT/SNAPSHOT: {example}"
    elif name not in {each.name for each in snapshots}:
        yield f"k3s_restore: no snapshot {name}; name one of these:{listed}"


def cluster_reset_command(snapshot: EtcdSnapshot, *, has_s3: bool) -> list[str]:
    """Return the K3s command that restores a snapshot and exits. It reads the token from its configuration."""
    from_s3 = snapshot.location.startswith("s3://")
    path = snapshot.name if from_s3 else f"{snapshot.location}/{snapshot.name}"
    command = [BINARY, "server", "--cluster-reset", f"--cluster-reset-restore-path={path}"]
    return [*command, "--etcd-s3=false"] if has_s3 and not from_s3 else command


def restore_unit(limit: int) -> list[str]:
    """Return the words that run a command as a unit with the environment of K3s, such as a proxy that leads to S3."""
    environment = [f"EnvironmentFile=-{file}" for file in ENVIRONMENT_FILES]
    properties = [f"--property={each}" for each in (f"RuntimeMaxSec={limit}", "LimitNOFILE=1048576", *environment)]
    return ["systemd-run", "--quiet", "--wait", "--collect", f"--unit={UNIT}", *properties]


def _is_done(server: str, name: str) -> bool:
    return k3s_cluster.run_on(server, f"cat {RESTORED_FILE}") == (True, [name])


@operation()
def stop_servers(node: Node, first: str, snapshot: str) -> Steps:
    """Stop and disable all servers: one that runs, or starts when its host boots, would keep the old state."""
    is_new_restore = not _is_done(first, snapshot)
    has_old_state = node.server and (is_new_restore or not _is_done(host.name, snapshot))
    state = f"systemctl is-active {node.unit}; systemctl is-enabled {node.unit}"
    if has_old_state and host.get_fact(CommandLines, state) != STOPPED:
        yield f"systemctl disable --quiet --now {node.unit}"
    if is_new_restore and host.get_fact(CommandLines, f"ls {RESTORED_FILE}"):
        yield f"rm {RESTORED_FILE}"


@operation()
def restore_state(cluster: ClusterHosts, snapshot: EtcdSnapshot, limit: int) -> Steps:
    """Restore the snapshot on the first server, while all servers are stopped."""
    if host.name != cluster.first or _is_done(host.name, snapshot.name):
        return
    yield FunctionCommand(_restore, (cluster, snapshot, limit), {})


def _restore(state: State, host: Host, cluster: ClusterHosts, snapshot: EtcdSnapshot, limit: int) -> bool:
    return k3s_cluster.log_failure(host, lambda: _restore_steps(host, cluster, snapshot, limit))


def _restore_steps(host: Host, cluster: ClusterHosts, snapshot: EtcdSnapshot, limit: int) -> None:
    if running := [name for name in cluster.servers if k3s_cluster.run_on(name, "systemctl is-active --quiet k3s")[0]]:
        raise StepFailed(f"K3s still runs on {', '.join(running)} with the old state; stop it there and run this again")
    # Run it as a systemd unit: a lost connection does not stop it, and the next run can stop it first.
    k3s_cluster.run_on(host.name, f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}")
    has_s3 = bool((cluster.settings.get("k3s_snapshots") or {}).get("s3"))
    command = shlex.join([*restore_unit(limit), *cluster_reset_command(snapshot, has_s3=has_s3)])
    failure = f"restoring {snapshot.name} failed, and all servers are stopped; fix what K3s says and run this again"
    k3s_cluster.run_or_fail(host.name, f"{command} || {{ {journal(UNIT)}; exit 1; }}", failure)
    k3s_cluster.run_or_fail(
        host.name, f"echo {shlex.quote(snapshot.name)} > {RESTORED_FILE}", f"writing {RESTORED_FILE} failed"
    )


@operation()
def prepare_rejoin(hosts: Sequence[str], node: Node, first: str, snapshot: str) -> Steps:
    """Delete these hosts' old state, and their node passwords, which can differ from those in the snapshot."""
    if host.name not in hosts or _is_done(host.name, snapshot):
        return
    yield FunctionCommand(_delete_password, (first, node), {})
    yield f"systemctl stop {node.unit}"
    if node.server:
        yield from delete_state_commands()
    yield f"echo {shlex.quote(snapshot)} > {RESTORED_FILE}"


def delete_state_commands() -> Iterator[str]:
    """Yield commands after which a server joins as a new one. Only the snapshots on its disk stay.

    K3s refuses to start with certificates, passwords or keys that are newer than the snapshot and differ from it, as on
    a new host, or after a key was rotated. Without them, it gets those of the restored cluster.
    """
    yield f"find {DATA}/server/db -mindepth 1 -maxdepth 1 ! -name snapshots -exec rm --recursive {{}} +"
    yield f"rm --recursive --force {DATA}/server/tls {DATA}/server/cred"


def _delete_password(state: State, host: Host, first: str, node: Node) -> bool:
    arguments = ("delete", "secret", f"{node.name}.node-password.k3s", "--namespace=kube-system", "--ignore-not-found")
    failure = f"deleting the old password of node {node.name} failed"
    return k3s_cluster.log_failure(host, lambda: k3s_cluster.kubectl_or_fail(first, *arguments, failure=failure))


def host_faults() -> Iterator[str]:
    """Yield a fault unless K3s and its configuration exist. A snapshot can be read only with its token."""
    if not host.get_fact(CommandLines, f"ls {BINARY} && ls {CONFIG}"):
        yield f"{host.name}: K3s is not installed; run deploys/k3s.py first, with the token of the lost cluster"
