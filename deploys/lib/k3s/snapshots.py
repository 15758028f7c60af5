"""Which snapshots of etcd there are, and how a cluster goes back to one."""

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
from deploys.lib.k3s.cluster import Hosts, NotDone
from deploys.lib.k3s.files import BINARY, CONFIG, DATA, Node
from deploys.lib.operations import Lines, Steps
from deploys.lib.preflight import DeployError

RESTORED = f"{DATA}/groundcrew-restored"  # the snapshot from which this node has its state
UNIT = "groundcrew-k3s-restore.service"
STOPPED = ["inactive", "disabled"]
SHOWN = 10


@dataclass(frozen=True, order=True)
class Snapshot:
    """One that can be restored."""

    taken: datetime
    name: str
    size: int
    place: str  # a folder of the first server, or s3://…

    def __str__(self) -> str:
        return f"{self.name}  {self.taken:%Y-%m-%d %H:%M} UTC  {self.size / 1e6:.1f} MB  {self.place}"


def there(cluster: Hosts) -> list[Snapshot]:
    """Those on the first server and those in S3, asked for without K3s: it may be what is broken."""
    s3 = (cluster.given.get("k3s_snapshots") or {}).get("s3") or {}
    return sorted([*_on_disk(cluster.first, _folder(cluster.given)), *(_in_s3(s3) if s3 else ())], reverse=True)


def _folder(given: Mapping[str, Any]) -> str:
    return str((given.get("k3s_config") or {}).get("etcd-snapshot-dir") or f"{DATA}/server/db/snapshots")


def _on_disk(server: str, folder: str) -> Iterator[Snapshot]:
    _, printed = k3s_cluster.ask(
        server, f"find {folder} -maxdepth 1 -type f -printf '%T@ %s %f\\n' 2>/dev/null || true"
    )
    for line in printed:
        taken, size, name = line.split(" ", 2)
        yield Snapshot(datetime.fromtimestamp(float(taken), UTC), name, int(size), folder)


def _in_s3(s3: Mapping[str, Any]) -> Iterator[Snapshot]:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    key, secret = keys(s3)
    scheme, endpoint = "http" if s3.get("insecure") else "https", s3.get("endpoint", "s3.amazonaws.com")
    client = boto3.client(
        "s3",
        endpoint_url=f"{scheme}://{endpoint}",
        region_name=s3.get("region", "us-east-1"),
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(connect_timeout=10, s3={"addressing_style": "path"}),
    )
    folder = f"{s3['folder']}/" if s3.get("folder") else ""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=s3["bucket"], Prefix=folder, Delimiter="/")
    try:
        for found in (one for page in pages for one in page.get("Contents", ())):
            name = found["Key"].removeprefix(folder)
            yield Snapshot(found["LastModified"].astimezone(UTC), name, found["Size"], f"s3://{s3['bucket']}/{folder}")
    except (BotoCoreError, ClientError) as error:
        raise DeployError(f"k3s_snapshots: s3: the snapshots in {s3['bucket']} can't be listed: {error}") from None


def keys(s3: Mapping[str, Any]) -> tuple[str, str]:
    """The two secrets of a bucket."""
    key, secret = (passwords.revealed(f"k3s_snapshots: s3: {name}", s3[name]) for name in ("access_key", "secret_key"))
    return key, secret


def faults(said: str, environment: str, snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """Why what was said names no snapshot to restore, and which there are."""
    listed = "".join(f"\n    {one}" for one in snapshots[:SHOWN]) or " none"
    listed += f"\n    and {len(snapshots) - SHOWN} older ones" if len(snapshots) > SHOWN else ""
    example = f"--data k3s_restore={environment}/{snapshots[0].name if snapshots else 'SNAPSHOT'}"
    into, _, name = said.partition("/")
    if not said:
        yield f"no snapshot was named that is to replace what {environment} is now, as in {example}; there are:{listed}"
    elif into != environment or not name:
        yield f"k3s_restore: {said}: this is {environment}; write the environment, a slash and a snapshot: {example}"
    elif name not in {one.name for one in snapshots}:
        yield f"k3s_restore: there is no snapshot {name}; there are:{listed}"


def reset(snapshot: Snapshot, *, has_s3: bool) -> list[str]:
    """K3s that puts a snapshot in place and ends; it reads its token from its configuration."""
    from_s3 = snapshot.place.startswith("s3://")
    path = snapshot.name if from_s3 else f"{snapshot.place}/{snapshot.name}"
    told = [BINARY, "server", "--cluster-reset", f"--cluster-reset-restore-path={path}"]
    return [*told, "--etcd-s3=false"] if has_s3 and not from_s3 else told


def _is_done(server: str, name: str) -> bool:
    return k3s_cluster.ask(server, f"cat {RESTORED}") == (True, [name])


@operation()
def servers_are_stopped(node: Node, first: str, snapshot: str) -> Steps:
    """All of them, since any that goes on would keep the old state alive; nor do they start with their hosts."""
    begins = not _is_done(first, snapshot)
    is_old = node.server and (begins or not _is_done(host.name, snapshot))
    if is_old and host.get_fact(Lines, f"systemctl is-active {node.unit}; systemctl is-enabled {node.unit}") != STOPPED:
        yield f"systemctl disable --quiet --now {node.unit}"
    if begins and host.get_fact(Lines, f"ls {RESTORED}"):
        yield f"rm {RESTORED}"


@operation()
def state_is_restored(cluster: Hosts, snapshot: Snapshot, limit: int) -> Steps:
    """On the first server, with all of them stopped."""
    if host.name != cluster.first or _is_done(host.name, snapshot.name):
        return
    yield FunctionCommand(_restore, (cluster, snapshot, limit), {})


def _restore(state: State, host: Host, cluster: Hosts, snapshot: Snapshot, limit: int) -> bool:
    return k3s_cluster.logged(host, lambda: _restored(host, cluster, snapshot, limit))


def _restored(host: Host, cluster: Hosts, snapshot: Snapshot, limit: int) -> None:
    if running := [name for name in cluster.servers if k3s_cluster.ask(name, "systemctl is-active --quiet k3s")[0]]:
        raise NotDone(f"K3s still runs on {', '.join(running)}, with the old state; stop it there and run this again")
    # As a unit: it is not cut off if this run is, and the next run ends it before it begins anew.
    k3s_cluster.ask(host.name, f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}")
    has_s3 = bool((cluster.given.get("k3s_snapshots") or {}).get("s3"))
    properties = [f"RuntimeMaxSec={limit}", "LimitNOFILE=1048576", "EnvironmentFile=-/etc/default/k3s"]
    unit = [f"--unit={UNIT}", *(f"--property={each}" for each in properties)]
    command = shlex.join(["systemd-run", "--quiet", "--wait", "--collect", *unit, *reset(snapshot, has_s3=has_s3)])
    journal = f"journalctl --unit={UNIT} --lines=15 --no-pager --output=cat"
    otherwise = f"{snapshot.name} was not restored, and all servers are stopped; K3s says"
    k3s_cluster.must(host.name, f"{command} || {{ {journal}; exit 1; }}", otherwise)
    k3s_cluster.must(host.name, f"echo {shlex.quote(snapshot.name)} > {RESTORED}", "it could not be noted")


@operation()
def node_begins_anew(who: Sequence[str], node: Node, first: str, snapshot: str) -> Steps:
    """Other nodes forget the state that they had, and may come with another password than the snapshot knows."""
    if host.name not in who or _is_done(host.name, snapshot):
        return
    yield FunctionCommand(_may_join, (first, node), {})
    yield f"systemctl stop {node.unit}"
    if node.server:
        # Snapshots on the disk are all that is kept.
        yield f"find {DATA}/server/db -mindepth 1 -maxdepth 1 ! -name snapshots -exec rm --recursive {{}} +"
    yield f"echo {shlex.quote(snapshot)} > {RESTORED}"


def _may_join(state: State, host: Host, first: str, node: Node) -> bool:
    words = ("delete", "secret", f"{node.name}.node-password.k3s", "--namespace=kube-system", "--ignore-not-found")
    otherwise = f"the old password of node {node.name} could not be deleted"
    return k3s_cluster.logged(host, lambda: k3s_cluster.must_kubectl(first, *words, otherwise=otherwise))


def faults_of_host() -> Iterator[str]:
    """K3s must be there, with the token without which no snapshot can be read."""
    if not host.get_fact(Lines, f"ls {BINARY} && ls {CONFIG}"):
        yield f"{host.name} has no K3s; run deploys/k3s.py first, with the token that the lost cluster had"
