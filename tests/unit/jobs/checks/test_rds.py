"""Which RDS instances an environment has, and what its restorable window is worth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import Stubber

from jobs.checks.check import CheckVerdict
from jobs.checks.rds import RdsName, RdsWindow, copied_window, instance_window, judge_copy, judge_window, rds_name

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = NOW - timedelta(days=7)
COPY = "arn:aws:rds:eu-west-1:123456789012:auto-backup:ab-shop"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("shop.c9akciq32.eu-central-1.rds.amazonaws.com", RdsName("shop", "eu-central-1", False)),
        ("Shop.cluster-c9akciq32.eu-central-1.rds.amazonaws.com", RdsName("shop", "eu-central-1", True)),
        ("shop.cluster-ro-c9ak.cn-north-1.rds.amazonaws.com.cn", RdsName("shop", "cn-north-1", True)),
        ("shop.internal", None),
        ("shop.c9akciq32.eu-central-1.rds.amazonaws.com.example", None),
        ("", None),
    ],
)
def test_a_host_of_rds_names_an_instance_or_a_cluster(host: str, expected: RdsName | None) -> None:
    assert rds_name(host) == expected


@pytest.mark.parametrize(
    ("window", "verdict", "fact"),
    [
        (
            RdsWindow(WEEK, NOW - timedelta(minutes=4), 7),
            CheckVerdict.OK,
            "each moment from Nov 23 12:00 to 11:56 UTC can be restored; backups are kept for 7 days",
        ),
        (
            RdsWindow(None, NOW - timedelta(hours=2), 7),
            CheckVerdict.WARN,
            "each moment to 10:00 UTC can be restored; backups are kept for 7 days; the last moment is late",
        ),
        (RdsWindow(None, None, 7), CheckVerdict.WARN, "RDS has no backup yet: no moment can be restored"),
        (RdsWindow(None, None, 0), CheckVerdict.WARN, "automated backups are off: no moment can be restored"),
    ],
)
def test_a_window_is_judged(window: RdsWindow, verdict: CheckVerdict, fact: str) -> None:
    result = judge_window(window, NOW)
    assert (result.verdict, result.fact) == (verdict, fact)


@pytest.mark.parametrize(
    ("window", "verdict", "fact"),
    [
        (
            RdsWindow(WEEK, NOW - timedelta(minutes=40), 14),
            CheckVerdict.OK,
            "in eu-west-1: each moment from Nov 23 12:00 to 11:20 UTC can be restored; backups are kept for 14 days",
        ),
        (
            RdsWindow(WEEK, NOW - timedelta(hours=2), 14),
            CheckVerdict.WARN,
            "in eu-west-1: each moment from Nov 23 12:00 to 10:00 UTC can be restored; backups are kept for 14 days; "
            "the last copied moment is late",
        ),
        (RdsWindow(None, None, 14), CheckVerdict.WARN, "RDS has copied no backup to eu-west-1 yet"),
    ],
)
def test_copies_in_another_region_are_judged(window: RdsWindow, verdict: CheckVerdict, fact: str) -> None:
    result = judge_copy("eu-west-1", window, NOW)
    assert (result.verdict, result.fact) == (verdict, fact)


def test_an_instance_names_its_copies_and_retained_backups_do_not_count() -> None:
    """The emulator has no copies, so the answers are made up; botocore checks their form."""
    client = boto3.client("rds", region_name="eu-central-1", aws_access_key_id="-", aws_secret_access_key="-")
    with Stubber(client) as rds:
        instance = {
            "LatestRestorableTime": NOW,
            "BackupRetentionPeriod": 7,
            "DBInstanceAutomatedBackupsReplications": [{"DBInstanceAutomatedBackupsArn": COPY}],
        }
        retained = {"Status": "retained", "RestoreWindow": {"EarliestTime": WEEK - timedelta(days=90)}}
        active = {"Status": "active", "RestoreWindow": {"EarliestTime": WEEK, "LatestTime": NOW}}
        copied = {"Status": "replicating", "RestoreWindow": active["RestoreWindow"], "BackupRetentionPeriod": 14}
        backups = "describe_db_instance_automated_backups"
        rds.add_response("describe_db_instances", {"DBInstances": [instance]}, {"DBInstanceIdentifier": "shop"})
        rds.add_response(backups, {"DBInstanceAutomatedBackups": [retained, active]}, {"DBInstanceIdentifier": "shop"})
        rds.add_response(backups, {"DBInstanceAutomatedBackups": [copied]}, {"DBInstanceAutomatedBackupsArn": COPY})
        assert instance_window(client, "shop") == (RdsWindow(WEEK, NOW, 7), [COPY])
        assert copied_window(client, COPY) == RdsWindow(WEEK, NOW, 14)
