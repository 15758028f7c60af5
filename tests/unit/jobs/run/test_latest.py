"""The longest gap of evidence, as a lock keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from jobs.run.job import Outcome
from jobs.run.latest import GAPS_KEPT, NO_RUNS, RunSummary, SubjectRuns
from jobs.run.lease import Holder, holder_from, holder_to

BEGIN = datetime(2026, 8, 1, tzinfo=UTC)
DONE, FINDING, FAILED = Outcome.DONE, Outcome.FINDING, Outcome.FAILED


def runs_on(days: Sequence[float | tuple[float, Outcome]], job: str = "backup") -> SubjectRuns:
    """Return what a lock keeps after runs on these days."""
    runs = NO_RUNS
    for each in days:
        day, outcome = each if isinstance(each, tuple) else (each, DONE)
        at = BEGIN + timedelta(days=day)
        runs = runs.with_run(RunSummary(f"r{day}", at, at, outcome, ""), {"seconds": 1}, job)
    return runs


@pytest.mark.parametrize(
    ("job", "days", "longest"),
    [
        ("backup", [], None),
        ("backup", [0], 0),
        ("backup", [0, 1, 2, 5, 6, 8, 9], 3),
        ("backup", [0, 1, (2, FINDING), 3], 1),  # a set that shrank is a backup
        ("verify", [0, 1, (2, FINDING), 3], 2),  # a failed verification is none
        ("backup", [0, 1, (2, FAILED), (4, FAILED)], 3),  # the gap still lasts
        ("backup", [(0, FAILED)], None),
        ("drift", [0, 1, 9], None),
        ("backup", [0, 5, *range(6, 12)], 5),
        ("backup", [0, 5, *range(6, 13)], 1),  # the gap ended a week ago
        ("backup", [0, 5, *range(6, 11), 13], 3),  # a shorter one ends when the longest is a week old
        ("backup", [0, 5, 6, 9, *range(10, 16)], 3),
        ("backup", [0, 1, 900, 2, 3, 4], 1),  # a clock was wrong once
    ],
)
def test_the_longest_gap_of_a_week(job: str, days: Sequence[float], longest: float | None) -> None:
    assert runs_on(days, job).longest_gap == (None if longest is None else longest * 86400)


def test_a_run_that_found_nothing_to_verify_is_no_evidence() -> None:
    at = BEGIN + timedelta(days=9)
    runs = runs_on([0, 1], "verify").with_run(RunSummary("r9", at, at, DONE, "1 set is verified already"), {}, "verify")
    assert runs.longest_gap == 8 * 86400


def test_a_lock_keeps_few_gaps_and_reads_them_again() -> None:
    shrinking = [sum(60 - number for number in range(count)) / 600 for count in range(40)]
    runs = runs_on(shrinking)
    assert len(runs.gaps) == GAPS_KEPT
    assert runs.longest_gap == 8640
    lock = Holder("r1", "here", 1, BEGIN, 60, released=BEGIN, runs=runs)
    assert holder_from("key", holder_to(lock)).runs == runs
