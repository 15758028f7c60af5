"""Evidence for an auditor: counts, gaps and their reasons, verifications, restores, and sets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.run import Outcome, Record
from jobs.status.evidence import backup_gaps, database_evidence
from jobs.status.evidence_page import evidence_page
from tests.parts.sets import listed
from tests.parts.signing import TRUST
from tests.unit.jobs.status.test_history import record

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
DAY = timedelta(days=1)
SINCE = NOW - 10 * DAY


def backup(day: float, outcome: Outcome = Outcome.DONE, sentence: str = "") -> Record:
    return replace(record(NOW - day * DAY, outcome=outcome), sentence=sentence)


@pytest.mark.parametrize(
    ("backups", "to_next", "gaps"),
    [
        ([backup(day) for day in range(10, -1, -1)], DAY, []),
        (
            [backup(day) for day in (10, 8.6, 7, 6, 5, 4, 3, 2, 1)],
            DAY,
            [("2026-11-12T11:36:00Z", "no run was recorded")],
        ),
        (
            [backup(day) for day in (10, 9, 8, 7, 6)]
            + [backup(5, Outcome.FAILED, "no route"), backup(4, Outcome.FAILED, "no route")]
            + [backup(day) for day in (3, 2, 1)],
            DAY,
            [("2026-11-15T02:00:00Z", "no route")],
        ),
        ([backup(day) for day in (10, 9, 8, 7, 6, 5, 4, 3)], DAY, [("2026-11-18T02:00:00Z", "no run was recorded")]),
        ([], DAY, [("2026-11-11T02:00:00Z", "no run was recorded")]),
        ([], None, []),
    ],
)
def test_gaps_are_longer_than_one_and_a_half_periods_and_say_why(
    backups: list[Record], to_next: timedelta | None, gaps: list[tuple[str, str]]
) -> None:
    assert [(gap["from"], gap["why"]) for gap in backup_gaps(backups, to_next, SINCE, NOW)] == gaps


def evidence() -> dict[str, Any]:
    verified = replace(record(NOW - DAY, "verify"), figures={"seconds": 71.26})
    restored = replace(record(NOW, "restore"), user="ada", host="laptop", sentence="set 3f9a into <shop>")
    trusted = listed(NOW - DAY, verified=NOW - DAY / 2)
    unsigned = replace(listed(NOW), trust=TRUST)
    return database_evidence(
        "shop",
        [backup(3), backup(2, Outcome.FAILED, "no route"), backup(1), verified, restored],
        [trusted, unsigned],
        to_next=DAY,
        policy="daily = 7",
        since=NOW - 3 * DAY,
        until=NOW,
    )


def test_the_evidence_about_a_database() -> None:
    found = evidence()
    assert (found["backups_done"], found["backups_failed"]) == (2, 1)
    assert found["longest_time_between_backups_seconds"] == 2 * 86400
    assert found["longest_time_between_verifications_seconds"] == 86369, "since its end"
    assert (found["verifications_passed"], found["longest_recovery_time_seconds"]) == (1, 71.3)
    assert [(line["by"], line["sentence"]) for line in found["restores"]] == [("ada@laptop", "set 3f9a into <shop>")]
    states = [(each["trusted"], each["verification"]) for each in found["sets"]]
    assert states == [(True, "passed"), (False, "none")]


@pytest.mark.parametrize("seconds", ["soon", 1e18, -1])
def test_a_time_that_no_verification_wrote_does_not_count(seconds: Any) -> None:
    planted = replace(record(NOW - DAY, "verify"), figures={"seconds": seconds})
    found = database_evidence("shop", [planted], [], to_next=None, policy="", since=NOW - 3 * DAY, until=NOW)
    assert (found["verifications_passed"], found["longest_recovery_time_seconds"]) == (0, None)


def test_the_page_says_all_that_and_escapes_it() -> None:
    document = {
        "environment": "production", "since": "a", "until": "b", "timezone": "UTC", "store": "s3://x", "made_by": "",
        "records": 3, "unreadable_records": 1, "databases": [evidence()],
    }  # fmt: skip
    page = evidence_page(document, NOW)
    for words in ("no route", "ada@laptop", "set 3f9a into &lt;shop&gt;", "1 min 11 s", "daily = 7", "not trusted"):
        assert words in page
    assert "1 records could not be read" in page
