"""The sentence that matters, the jobs in groups, and the next 24 hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from inventories import Cost
from jobs.cost.report import report_on
from jobs.schedule.slots import Slot
from jobs.status.collect import DatabaseStatus, EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.outline import (
    job_groups,
    lanes,
    last_verifications,
    names_in,
    problem_groups,
    sentence_that_matters,
    title_of,
)
from jobs.status.page import render_page
from tests.parts.bills import Account, at
from tests.parts.sets import listed

NOW = at("2026-11-21")
OK = Health("backup", "shop", HealthState.OK, NOW - timedelta(hours=1), "fine", None)
BAD = replace(OK, state=HealthState.FAILED, since=NOW - timedelta(hours=5), sentence="no route")
TAKEN = listed(NOW - timedelta(hours=7), verified=NOW - timedelta(days=3))
SHOP = DatabaseStatus("shop", TAKEN, OK, TAKEN.result)
DIFFERS = DatabaseStatus("crm", None, OK, verification=replace(OK, state=HealthState.FINDING), listed=False)
DRIFT = Health("drift", "network", HealthState.OK, NOW, "no drift", None)
BILL = report_on(Account(daily="10").bill(NOW), Cost(budget=300))


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (EnvironmentStatus("dev", UTC), "No job has run yet. Start with: crew check dev"),
        (
            EnvironmentStatus("dev", UTC, health=(BAD,)),
            "Backup of shop: failed since 04:00 (5 h).",
        ),
        (
            EnvironmentStatus("dev", UTC, health=(BAD, replace(BAD, job="cost", subject=""), OK)),
            "Backup of shop: failed since 04:00 (5 h). 1 more problem.",
        ),
        (
            EnvironmentStatus("dev", UTC, health=(OK, DRIFT), databases=(SHOP,), cost=BILL),
            "The newest backup of each of 1 database is at most 7 h old; each was verified within 3 d; "
            "no drift in 1 stack; 70 % of the budget is spent.",
        ),
        (
            EnvironmentStatus("dev", UTC, health=(replace(DRIFT, job="hosts", subject="k3s"),)),
            "No drift of hosts from 1 deploy.",
        ),
        (
            EnvironmentStatus("dev", UTC, health=(OK,), databases=(SHOP, DatabaseStatus("crm", None, None))),
            "1 database of 2 without a backup; 1 database without a verified backup.",
        ),
    ],
)
def test_the_sentence_that_matters(status: EnvironmentStatus, sentence: str) -> None:
    assert sentence_that_matters(status, NOW) == sentence


@pytest.mark.parametrize(
    ("databases", "text"),
    [
        ((), ""),
        ((SHOP,), "Last verified 3 d ago (shop)."),
        ((SHOP, replace(SHOP, name="a", last_result=listed(NOW, verified=NOW - timedelta(hours=2)).result)),
         "Last verified 2 h ago (a). The oldest verification was 3 d ago (shop)."),
        ((SHOP, DatabaseStatus("crm", None, None)), "Last verified 3 d ago (shop). Not verified: crm."),
        ((DIFFERS, DatabaseStatus("a", None, None)), "Verification failed: crm. Not verified: a."),
        ([DatabaseStatus(f"d{number}", None, None) for number in range(5)],
         "Not verified: d0; d1; d2; and 2 more."),
    ],
)  # fmt: skip
def test_when_backups_were_last_verified(databases: Sequence[DatabaseStatus], text: str) -> None:
    assert last_verifications(databases, NOW) == text


def test_many_problems_that_say_the_same_stand_together() -> None:
    many = [
        replace(BAD, subject=f"main.{number}", sentence=f"no route; previous run done: {number} rows")
        for number in range(5)
    ]
    other = replace(BAD, subject="crm", sentence="no password")
    three = [replace(BAD, job="verify", sentence="no scratch", subject=f"main.{number}") for number in range(3)]
    grouped = problem_groups([many[0], other, *many[1:], *three])
    assert [[each.subject for each in group] for group in grouped] == [
        ["main.0", "main.1", "main.2", "main.3", "main.4"],
        ["crm"],
        *(["main.0"], ["main.1"], ["main.2"]),
    ]
    page = render_page([EnvironmentStatus("dev", UTC, health=tuple(many))], NOW)
    assert "<strong>backup of 5</strong>" in page
    assert "main.0; main.1; main.2; and 2 more</summary>main.0; main.1; main.2; main.3; main.4</details>" in page
    assert "5 problems" in page
    assert "previous run" not in page
    assert "Backup of 5: failed since 04:00 (5 h)." in page


def test_problems_of_several_jobs_that_say_the_same_are_named_with_their_jobs() -> None:
    late = replace(BAD, state=HealthState.OVERDUE, sentence="no run since it was due")
    jobs = [replace(late, job=job) for job in ("backup", "verify", "copy")] + [replace(late, job="digest", subject="")]
    found = replace(late, sentence="no run since it was due; previous run finding: 3 rows are missing")
    alone, together = sorted(problem_groups([found, *jobs]), key=len)
    assert (title_of(alone), title_of(together)) == ("backup shop", "4 jobs")
    assert names_in(together) == ["backup shop", "verify shop", "copy shop", "digest"]
    page = render_page([EnvironmentStatus("dev", UTC, health=(found, *jobs))], NOW)
    assert "previous run finding: 3 rows are missing" in page, "a failed verification is never hidden"


def test_jobs_stand_in_groups_with_the_worst_state_first() -> None:
    backup, drift = job_groups([OK, replace(OK, subject="crm", next=NOW), BAD, DRIFT])
    assert (backup.job, backup.states, backup.next) == (
        "backup",
        ((HealthState.FAILED, 1), (HealthState.OK, 2)),
        NOW,
    )
    assert (drift.job, drift.oldest, drift.next) == ("drift", None, None)


def test_the_next_runs_of_one_time_share_a_mark() -> None:
    slots = [Slot("backup", name, "0 12 * * *") for name in ("e", "d", "c", "b")]
    backup, drift = lanes([*slots, Slot("drift", "", "0 */12 * * *")], ZoneInfo("UTC"), NOW)
    assert (backup.job, backup.minutes, backup.text) == (
        "backup",
        ((180, "12:00 backup of b; c; d; and 1 more"),),
        "12:00",
    )
    assert drift.minutes == ((180, "12:00 drift"), (900, "00:00 drift"))
