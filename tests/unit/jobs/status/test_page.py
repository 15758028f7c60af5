"""The HTML of the status page."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from jobs.status.collect import DatabaseStatus, EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
from tests.parts.bills import at

NOW = at("2026-11-21")


def test_without_environments_the_page_says_how_to_create_one() -> None:
    assert "crew init NAME" in render_page([], NOW)


def test_untrusted_sets_are_counted() -> None:
    def page(untrusted: int) -> str:
        shop = DatabaseStatus("shop", None, None, untrusted=untrusted)
        return render_page([EnvironmentStatus("staging", UTC, databases=(shop,))], NOW)

    assert "2 untrusted sets: crew backups list staging shop" in page(2)
    assert "untrusted" not in page(0)


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = Health("backup", "<script>alert(1)</script>", HealthState.FAILED, NOW, '"><img src=x onerror=y>', None)
    html = render_page([EnvironmentStatus("staging", NOW.tzinfo, health=(evil,), error="")], NOW)  # type: ignore[arg-type]
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
