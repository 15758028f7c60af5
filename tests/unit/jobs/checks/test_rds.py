"""Which RDS instances an environment has, and what its restorable window is worth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobs.checks.check import CheckVerdict
from jobs.checks.rds import RdsName, RdsWindow, judge_window, rds_name

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = NOW - timedelta(days=7)


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
