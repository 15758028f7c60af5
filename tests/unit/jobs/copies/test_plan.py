"""Which sets are copied, as a table: what the store has, what the copy has, its rules, and what is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inventories import Keep
from jobs.backup.sets.sets import Set
from jobs.copies.plan import sets_to_copy
from jobs.retention.policy import apply_policy
from tests.parts.sets import listed

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ALL = Keep()


def days_ago(days: float, **more: Any) -> Set:
    return listed(NOW - timedelta(days=days), **more)


def untrusted(backup_set: Set) -> Set:
    return replace(backup_set, trust=replace(backup_set.trust, required=True))


CASES = {
    "all sets, newest first, without rules": ([days_ago(2), days_ago(1)], [], ALL, [1, 2]),
    "what is missing": ([days_ago(2), days_ago(1)], [days_ago(2)], ALL, [1]),
    "what is there and incomplete": ([days_ago(1)], [days_ago(1, complete=False)], ALL, [1]),
    "what has lost a piece there": ([replace(days_ago(1), size=3)], [days_ago(1)], ALL, [1]),
    "what failed verification there": ([days_ago(1)], [days_ago(1, failed=NOW)], ALL, [1]),
    "no incomplete set": ([days_ago(1, complete=False)], [], ALL, []),
    "no set that nobody signed": ([untrusted(days_ago(1))], [], ALL, []),
    "a set that lies there unsigned": ([days_ago(1)], [untrusted(days_ago(1))], ALL, [1]),
    "no set that failed verification": ([days_ago(1, failed=NOW), days_ago(2)], [], ALL, [2]),
    "no set of the future": ([days_ago(-3), days_ago(2)], [], ALL, [2]),
    "what the rules keep": ([days_ago(n) for n in (3, 2, 1)], [], Keep(last=2), [1, 2]),
    "nothing that older copies make superfluous": (
        [days_ago(1.1), days_ago(1)],
        [days_ago(1), days_ago(2)],
        Keep(daily=9),
        [],
    ),
    "no verified set just because it is verified": ([days_ago(1), days_ago(9, verified=NOW)], [], Keep(last=1), [1]),
}


@pytest.mark.parametrize(("here", "there", "keep", "expected"), CASES.values(), ids=CASES)
def test_a_copy_gets(here: list[Set], there: list[Set], keep: Keep, expected: list[float]) -> None:
    wanted = sets_to_copy(here, there, keep, NOW)
    assert [(NOW - each.started) / timedelta(days=1) for each in wanted] == expected


@pytest.mark.parametrize("keep", [Keep(last=3), Keep(daily=4), Keep(hourly=5, weekly=2), Keep(daily=2, monthly=12)])
def test_retention_removes_nothing_that_was_just_copied(keep: Keep) -> None:
    here = [days_ago(n * 0.7, verified=NOW if n % 5 == 3 else None) for n in range(90)]
    there = [days_ago(n * 0.7) for n in range(20, 130, 3)]
    copied = [replace(each, results=()) for each in sets_to_copy(here, there, keep, NOW)]
    kept = {decision.set.id for decision in apply_policy([*there, *copied], keep, NOW) if decision.keep}
    assert copied
    assert {each.id for each in copied} <= kept
