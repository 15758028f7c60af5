"""Which standby can be dumped in place of its primary."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.backup.take.source import DatabaseIdentity, StandbyStatus, standby_fault

HERE = DatabaseIdentity("7300000000000000001", 16384)
HIDDEN = HERE._replace(cluster="")
OTHER_CLUSTER = HERE._replace(cluster="7300000000000000002")
OTHER_DATABASE = HERE._replace(oid=16385)


def standby(identity: DatabaseIdentity = HERE, lag: int = 30, *, receives: bool = True) -> StandbyStatus:
    return StandbyStatus(True, receives, timedelta(seconds=lag), identity)


@pytest.mark.parametrize(
    ("found", "primary", "expected"),
    [
        (standby(), HERE, ""),
        (standby()._replace(in_recovery=False), HERE, "it is not a standby; was it promoted?"),
        (standby(receives=False), HERE, "it does not stream from its primary"),
        (standby(lag=1200), HERE, "it is 20 min behind its primary"),
        (standby(OTHER_CLUSTER, lag=1200), HERE, "it is a standby of another server than `url` names"),
        (standby(OTHER_DATABASE), HERE, "it has another database than `url` names"),
        (standby(OTHER_DATABASE), HIDDEN, "it has another database than `url` names"),
        (standby(HIDDEN), HERE, ""),
        (standby(), HIDDEN, ""),
        (standby(OTHER_CLUSTER), None, ""),
    ],
)
def test_only_a_standby_of_its_primary_that_keeps_up_is_dumped(
    found: StandbyStatus, primary: DatabaseIdentity | None, expected: str
) -> None:
    assert standby_fault(found, primary) == expected
