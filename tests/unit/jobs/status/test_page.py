"""The HTML of the status page."""

from __future__ import annotations

from pathlib import Path

from jobs.status.collect import EnvironmentStatus
from jobs.status.health import Health, HealthState
from jobs.status.page import render_page
from tests.parts.bills import at

NOW = at("2026-11-21")


def test_without_environments_the_page_says_how_to_create_one() -> None:
    assert "crew init NAME" in render_page([], NOW)


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = Health("backup", "<script>alert(1)</script>", HealthState.FAILED, NOW, '"><img src=x onerror=y>', None)
    html = render_page([EnvironmentStatus("staging", NOW.tzinfo, health=(evil,), error="")], NOW)  # type: ignore[arg-type]
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;alert(1)" in html
