"""Which databases the page tells of, and what of their backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from jobs.backup.sets.sets import Set
from jobs.status.collect import DatabaseStatus, EnvironmentStatus, database_statuses
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
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


def test_databases_are_those_of_the_file_those_with_sets_and_those_that_ran() -> None:
    failed = Health("backup", "main.crm", HealthState.FAILED, NOW, "no route", None)
    whole = replace(failed, subject="main", sentence="was not reached")
    found = database_statuses(environment(more=FILE), [NEW, OLD, OPEN, replace(OLD, database="gone")], [failed, whole])
    assert [(one.name, one.sizes, one.backup) for one in found] == [
        ("gone", (10,), None),
        ("main.crm", (), failed),
        ("shop", (10, 20), None),
    ]
    assert found[2].newest == NEW


def test_verification_count_by_the_newest() -> None:
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


def test_nothing_at_all_is_a_page_too() -> None:
    assert "crew init NAME" in render_page([], NOW)


def test_what_comes_from_outside_is_text_and_no_markup(tmp_path: Path) -> None:
    evil = Health("backup", "<script>alert(1)</script>", HealthState.FAILED, NOW, '"><img src=x onerror=y>', None)
    drawn = render_page([EnvironmentStatus("staging", NOW.tzinfo, standings=(evil,), error="")], NOW)  # type: ignore[arg-type]
    assert "<script" not in drawn
    assert "<img" not in drawn
    assert "&lt;script&gt;alert(1)" in drawn
