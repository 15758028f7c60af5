"""Which databases the page shows, and their verification."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobs.backup.sets.sets import Set
from jobs.status.collect import DatabaseStatus, database_statuses
from jobs.status.health import Health, HealthState
from tests.parts.bills import at
from tests.parts.runs import environment

NOW = at("2026-11-21")
OLD = Set(
    environment="staging", database="shop", id="20261120T020000Z-0001", started=NOW - timedelta(days=1), size=10,
    completed=NOW - timedelta(hours=23), verified=None, failed_verification=None, pinned=False, tags=(),
)  # fmt: skip
NEW = replace(OLD, id="20261121T020000Z-0002", started=NOW - timedelta(hours=7), size=20)
OPEN = replace(OLD, id="20261121T080000Z-0003", started=NOW - timedelta(hours=1), completed=None)
FILE = """
[databases.shop]
url = "postgresql://backup@shop.internal/shop"
backup = "0 2 * * *"
[databases.by-hand]
url = "postgresql://backup@shop.internal/hand"
[servers.main]
url = "postgresql://backup@main.internal/postgres"
backup = "0 2 * * *"
"""


def test_databases_are_those_with_a_schedule_a_set_or_a_run() -> None:
    failed = Health("backup", "main.crm", HealthState.FAILED, NOW, "no route", None)
    whole = replace(failed, subject="main", sentence="unreachable")
    databases = database_statuses(
        environment(more=FILE), [NEW, OLD, OPEN, replace(OLD, database="gone")], [failed, whole]
    )
    facts = [(database.name, database.sizes, database.backup) for database in databases]
    assert facts == [
        ("gone", (10,), None),
        ("main.crm", (), failed),
        ("shop", (10, 20), None),
    ]
    assert databases[2].newest == NEW


def test_the_newest_verification_counts() -> None:
    verified, failed_verification = (
        replace(OLD, verified=NOW - timedelta(hours=9)),
        replace(NEW, failed_verification=NOW),
    )
    assert DatabaseStatus("shop", (verified, NEW), None).verified == NOW - timedelta(hours=9)
    assert DatabaseStatus("shop", (verified, failed_verification), None).failed_verification
    assert not DatabaseStatus(
        "shop", (replace(OLD, failed_verification=NOW - timedelta(hours=2)), replace(NEW, verified=NOW)), None
    ).failed_verification
    assert DatabaseStatus("shop", (), None).verified is None
