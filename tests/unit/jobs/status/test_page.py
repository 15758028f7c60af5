"""The HTML of the status page."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobs.status.collect import DatabaseStatus, EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
from tests.parts.bills import at

NOW = at("2026-11-21")
BERLIN = ZoneInfo("Europe/Berlin")


def test_without_environments_the_page_says_how_to_create_one() -> None:
    assert "crew init NAME" in render_page([], NOW)


def test_untrusted_sets_are_counted() -> None:
    def page(untrusted: int) -> str:
        shop = DatabaseStatus("shop", None, None, untrusted=untrusted)
        return render_page([EnvironmentStatus("staging", UTC, databases=(shop,))], NOW)

    assert "2 untrusted sets: crew backups list staging shop" in page(2)
    assert "untrusted" not in page(0)


def test_databases_with_a_problem_come_first_and_show_it() -> None:
    failed = Health("verify", "stock", HealthState.FINDING, NOW, "3 rows are missing", None)
    databases = (DatabaseStatus("crm", None, None), DatabaseStatus("stock", None, None, verification=failed))
    page = render_page([EnvironmentStatus("dev", UTC, databases=databases)], NOW)
    assert page.index("stock<br>") < page.index("crm</th>")
    assert "verify finding</small>" in page


@pytest.mark.parametrize(("zones", "text"), [((UTC, UTC), "(UTC)"), ((BERLIN, BERLIN), "(Europe/Berlin)"),
                                             ((UTC, BERLIN), "(UTC)")])  # fmt: skip
def test_the_page_names_one_timezone_or_that_of_each_environment(zones: tuple[tzinfo, ...], text: str) -> None:
    shop, unused = DatabaseStatus("shop", None, None), EnvironmentStatus("unused", ZoneInfo("Asia/Tokyo"))
    statuses = [EnvironmentStatus(f"env{number}", zone, databases=(shop,)) for number, zone in enumerate(zones)]
    page = render_page([*statuses, unused], NOW)
    assert re.search(rf"As of [^.]*{re.escape(text)}", page)
    assert page.count("Times are in") == (3 if len(set(zones)) > 1 else 0)


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = Health("backup", "<script>alert(1)</script>", HealthState.FAILED, NOW, '"><img src=x onerror=y>', None)
    html = render_page([EnvironmentStatus("staging", NOW.tzinfo, health=(evil,), error="")], NOW)  # type: ignore[arg-type]
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
