"""Which snapshot of etcd is meant, and how it is put in place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploys.lib.k3s import snapshots
from deploys.lib.k3s.snapshots import Snapshot

OLD = Snapshot(datetime(2026, 1, 1, tzinfo=UTC), "old", 1_000_000, "/snapshots")
NEW = Snapshot(datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "new", 25_000_000, "s3://acme/staging/")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ("staging/old", ""),
        (
            "",
            "as in --data k3s_restore=staging/new; there are:\n    new  2026-01-02 03:04 UTC  25.0 MB  s3://acme/staging/",
        ),
        ("staging", "write the environment, a slash and a snapshot"),
        ("production/old", "k3s_restore: production/old: this is staging"),
        ("staging/lost", "there is no snapshot lost; there are:\n    new  "),
    ],
)
def test_a_snapshot_is_named_with_its_environment(said: str, fault: str) -> None:
    told = list(snapshots.faults(said, "staging", [NEW, OLD]))
    assert (len(told), fault in "".join(told)) == (bool(fault), True)


def test_many_snapshots_are_not_all_told() -> None:
    (told,) = snapshots.faults("", "staging", [OLD] * 12)
    assert told.endswith("    and 2 older ones")
    assert next(snapshots.faults("", "staging", [])).endswith("there are: none")


def test_a_reset_looks_into_s3_only_for_what_is_there() -> None:
    k3s = ["/usr/local/bin/k3s", "server", "--cluster-reset"]
    assert snapshots.reset(NEW, has_s3=True) == [*k3s, "--cluster-reset-restore-path=new"]
    assert snapshots.reset(OLD, has_s3=False) == [*k3s, "--cluster-reset-restore-path=/snapshots/old"]
    assert snapshots.reset(OLD, has_s3=True)[-1] == "--etcd-s3=false"
