"""Which etcd snapshot to restore, and the command that restores it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from deploys.lib.k3s import files, snapshots
from deploys.lib.k3s.snapshots import EtcdSnapshot

OLD = EtcdSnapshot(datetime(2026, 1, 1, tzinfo=UTC), "old", 1_000_000, "/snapshots")
NEW = EtcdSnapshot(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "new", 25_000_000, "s3://acme/staging/")


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("staging/old", ""),
        (
            "",
            "from: --data k3s_restore=staging/new; snapshots:\n    new  2026-01-02 03:04 UTC  25.0 MB  s3://acme/staging/",
        ),
        ("staging", "write ENVIRONMENT/SNAPSHOT"),
        ("production/old", "k3s_restore: production/old is not a snapshot of staging"),
        ("staging/lost", "no snapshot lost; name one of these:\n    new  "),
    ],
)
def test_the_value_names_environment_and_snapshot(value: str, fault: str) -> None:
    faults = list(snapshots.faults(value, "staging", [NEW, OLD]))
    assert len(faults) == bool(fault), faults
    assert fault in "".join(faults)


def test_only_the_newest_snapshots_are_listed() -> None:
    (fault,) = snapshots.faults("", "staging", [OLD] * 12)
    assert fault.endswith("    and 2 older ones")
    assert next(snapshots.faults("", "staging", [])).endswith("snapshots: none")


def test_the_restore_uses_s3_only_for_a_snapshot_in_s3() -> None:
    k3s = ["/usr/local/bin/k3s", "server", "--cluster-reset"]
    assert snapshots.cluster_reset_command(NEW, has_s3=True) == [*k3s, "--cluster-reset-restore-path=new"]
    assert snapshots.cluster_reset_command(OLD, has_s3=False) == [
        *k3s,
        "--cluster-reset-restore-path=/snapshots/old",
    ]
    assert snapshots.cluster_reset_command(OLD, has_s3=True)[-1] == "--etcd-s3=false"


def test_the_restore_has_the_environment_of_the_unit() -> None:
    """The proxies of k3s_environment can be the only way to S3."""
    of_unit = re.findall("EnvironmentFile=-(.+)", files.unit_file("server", "k3s.service"))
    words = snapshots.restore_unit(300)
    assert [f"--property=EnvironmentFile=-{each.replace('%N', 'k3s')}" for each in of_unit] == words[-3:]
    assert "--property=RuntimeMaxSec=300" in words


def test_a_server_that_joins_again_keeps_its_snapshots_but_no_certificates_passwords_and_keys() -> None:
    database, rest = snapshots.delete_state_commands()
    assert database.startswith("find /var/lib/rancher/k3s/server/db -mindepth 1 -maxdepth 1 ! -name snapshots ")
    assert rest.endswith(" /var/lib/rancher/k3s/server/tls /var/lib/rancher/k3s/server/cred")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "https://s3.us-east-1.amazonaws.com"),
        ({"endpoint": "s3.amazonaws.com", "region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com"),
        ({"endpoint": "s3.acme.example:9000", "region": "eu-central-1"}, "https://s3.acme.example:9000"),
        ({"endpoint": "10.0.0.9:8333", "insecure": True}, "http://10.0.0.9:8333"),
    ],
)
def test_snapshots_are_listed_in_the_region_of_their_bucket(given: dict[str, object], expected: str) -> None:
    assert snapshots.s3_client({"bucket": "acme-etcd", **given}).meta.endpoint_url == expected
