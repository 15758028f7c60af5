"""Backups need a schedule; a retention policy needs rules and a schedule."""

from __future__ import annotations

import pytest

from inventories import Keep
from jobs.checks import CheckVerdict
from jobs.checks.retention import check_backup_line, check_policy


@pytest.mark.parametrize(
    ("keep", "scheduled", "verdict", "fact"),
    [
        (Keep(daily=7), True, CheckVerdict.OK, "keep has rules and retention is scheduled"),
        (Keep(daily=7), False, CheckVerdict.WARN, "retention is not scheduled"),
        (Keep(), True, CheckVerdict.WARN, "no set is ever removed"),
        (Keep(), False, CheckVerdict.WARN, "no set is ever removed"),
    ],
)
def test_a_policy_needs_rules_and_a_schedule(keep: Keep, verdict: CheckVerdict, fact: str, *, scheduled: bool) -> None:
    result = check_policy(keep, scheduled=scheduled)
    assert result.verdict is verdict
    assert fact in result.fact


def test_a_database_without_a_backup_line_is_a_warning() -> None:
    assert check_backup_line(scheduled=True).verdict is CheckVerdict.OK
    missing = check_backup_line(scheduled=False)
    assert (missing.verdict, missing.fact) == (CheckVerdict.WARN, "has no `backup` line, so no schedule backs it up")
