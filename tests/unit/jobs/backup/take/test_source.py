"""Which standby can be dumped in place of its primary."""

from __future__ import annotations

from datetime import timedelta

import pytest

from jobs.backup.take.source import StandbyStatus, standby_fault


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (StandbyStatus(True, True, timedelta(seconds=30)), ""),
        (StandbyStatus(False, False, timedelta()), "it is no standby; was it promoted?"),
        (StandbyStatus(True, False, timedelta()), "it does not stream from its primary"),
        (StandbyStatus(True, True, timedelta(minutes=20)), "it is 20 min behind its primary"),
    ],
)
def test_only_a_standby_that_keeps_up_is_dumped(found: StandbyStatus, expected: str) -> None:
    assert standby_fault(found) == expected
