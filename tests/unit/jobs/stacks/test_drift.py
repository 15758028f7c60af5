"""The result of a drift run, and when drift causes an alert."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.run.alerts import AlertReason, AlertState, alert_reason
from jobs.run.job import Outcome
from jobs.stacks.drift import drift_result
from terraform.drift import DriftFinding, DriftKind

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
OWNER = DriftFinding(DriftKind.CHANGED, "aws_vpc.x", "tags.Owner", "we", "mallory")
TOPIC = DriftFinding(DriftKind.MISSING, "aws_sns_topic.t", "", "exists", "deleted")
WINDOW = DriftFinding(DriftKind.STATE_ONLY, "aws_db_instance.d", "maintenance_window", "sun", "mon")
DISK = DriftFinding(DriftKind.PENDING, "aws_instance.i", "disk", "80", "90", "update")
AGENT = DriftFinding(DriftKind.CHANGED, "aws_instance.i", "tags.Seen", "1", "2", ignored="the agent writes it")


@pytest.mark.parametrize(
    ("findings", "outcome", "sentence"),
    [
        ([], Outcome.DONE, "no drift"),
        ([AGENT], Outcome.DONE, "no drift"),
        ([DISK, AGENT], Outcome.DONE, "no drift; 1 pending"),
        ([TOPIC], Outcome.FINDING, "1 missing (missing: aws_sns_topic.t)"),
        (
            [TOPIC, OWNER, DISK, AGENT],
            Outcome.FINDING,
            "1 missing, 1 changed, 1 pending (missing: aws_sns_topic.t; changed: aws_vpc.x tags.Owner)",
        ),
        (
            [TOPIC, OWNER, WINDOW, WINDOW],
            Outcome.FINDING,
            "1 missing, 1 changed, 2 state only (missing: aws_sns_topic.t; changed: aws_vpc.x tags.Owner; "
            "state only: aws_db_instance.d maintenance_window; and 1 more)",
        ),
    ],
)
def test_drift_is_a_finding_and_pending_code_is_not(
    findings: list[DriftFinding], outcome: Outcome, sentence: str
) -> None:
    result = drift_result(findings)
    assert (result.outcome, result.sentence) == (outcome, sentence)


def test_figures_for_machines() -> None:
    assert drift_result([TOPIC, OWNER, WINDOW, DISK, AGENT]).figures == {
        "missing": 1, "changed": 1, "state_only": 1, "pending": 1, "ignored": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("earlier", "current", "expected"),
    [
        ([], [OWNER], AlertReason.FOUND),
        ([OWNER, TOPIC], [TOPIC, OWNER, DISK], None),
        ([OWNER], [OWNER, TOPIC], AlertReason.CHANGED),
        ([OWNER, TOPIC], [TOPIC], AlertReason.CHANGED),
        ([OWNER], [], AlertReason.GONE),
        ([OWNER], [DISK], AlertReason.GONE),
        ([], [DISK], None),
    ],
)
def test_new_changed_and_resolved_drift_causes_an_alert_and_unchanged_drift_does_not(
    earlier: list[DriftFinding], current: list[DriftFinding], expected: AlertReason | None
) -> None:
    before, now = drift_result(earlier), drift_result(current)
    known = AlertState(alerted=before.outcome, alerted_at=NOW, about=before.about)
    assert alert_reason(known, now.outcome, now.about, NOW + timedelta(minutes=5), timedelta(days=1)) is expected
