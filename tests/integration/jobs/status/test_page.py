"""The status page in Chromium, written by the command and by the job."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.run.documents import utc_now
from jobs.store import open_store
from tests.parts import crew, sample_repository
from tests.parts.browser import HOST, PageView, open_page
from tests.parts.needs import needs
from tests.parts.s3 import Bucket
from tests.parts.store import Settings

WIDTHS = [(360, False), (380, True), (900, False), (1440, True)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> crew.Repository:
    root = tmp_path_factory.mktemp("repository")
    sample_repository.build(root, utc_now())
    return crew.Repository(root)


@pytest.fixture(scope="module")
def page(built: crew.Repository) -> str:
    file = built.root / "status.html"
    result = built.crew("status", "--html", str(file))
    assert result.code == 78, "one environment file is invalid, and the page is written"
    assert result.out == f"wrote {file}\n"
    return file.read_text()


@pytest.fixture(scope="module", params=WIDTHS, ids=["phone", "night", "window", "desk"])
def view(request: pytest.FixtureRequest, page: str, tmp_path_factory: pytest.TempPathFactory) -> PageView:
    width, dark = request.param
    return open_page(page, tmp_path_factory.mktemp("browser"), width=width, dark=dark)


@needs("chromium")
def test_problems_are_on_top_with_since_when(view: PageView) -> None:
    lines = view.text.splitlines()
    assert "problems" in lines[0]
    top = view.text[: view.text.index("Backups")]
    words = " ".join(top.split())
    assert "✕ not read ruin inventories/ruin.toml: nonsense: unknown key" in words
    assert f"✕ failed production: backup {sample_repository.LONG_NAME} since " in words
    assert "(5 h) crm.internal: <no route> to host & no backup" in words
    assert "▲ finding production: drift cluster since " in words
    assert "production: Last verified " in words
    assert view.title.endswith("problems: ruin, production, staging")


@needs("chromium")
def test_backups_drift_cost_and_the_next_runs_are_there(view: PageView) -> None:
    for words in (
        "shop", "1 h ago", "1.4 GB", "6 h ago", "network", "no drift", "USD spent of 330.00",
        "All jobs", "staging", "No job has run yet.", "recovery point", "recovery time 1 min 11 s", "Amazon EC2",
        "Backup of crm", "more problem", "Next 24 hours",
    ):  # fmt: skip
        assert words in view.text
    strip, size, duration = view.pictures[3:6]
    assert re.match(
        r"Last 90 days: failed on 2 days, missing on \d days, verified on 1\d days, backed up on", str(strip)
    )
    assert size == "Size of the backups of 90 days: from zero to 1.4 GB"
    assert str(duration).startswith("Duration of the backups of 90 days: from zero to ")
    assert any("USD spent of 330.00" in str(each) for each in view.pictures)
    assert any(str(each).startswith("backup: ") for each in view.pictures)


@needs("chromium")
def test_the_page_loads_nothing_else_and_has_no_errors(view: PageView, page: str) -> None:
    assert view.requests == [f"{HOST}/probe", f"{HOST}/page"]
    assert view.resources == []
    assert view.errors == []
    assert "<script" not in page


@needs("chromium")
def test_it_is_readable(view: PageView) -> None:
    assert view.scroll <= view.inner, "it scrolls sideways"
    assert view.checked > 50
    assert view.faint == []


@needs("chromium")
def test_it_works_with_a_screen_reader(view: PageView) -> None:
    assert all(view.pictures), "a chart without a description"
    assert set(view.tables) == {"Backups", "Drift", "Cost", "All jobs"}
    assert view.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(view.headings, view.headings[1:], strict=False))


@needs("chromium")
def test_states_have_words_and_symbols_not_only_colours(view: PageView) -> None:
    assert set(view.states) >= {"✕ failed", "▲ finding", "✓ ok", "✓ 2 ok"}
    assert all(state[0] in "✕▲▶○✓" and len(state) > 3 for state in view.states)


@needs("chromium")
def test_it_has_a_dark_mode(page: str, tmp_path: Path) -> None:
    assert [open_page(page, tmp_path, dark=dark).page for dark in (False, True)] == [
        "rgb(251, 251, 249)",
        "rgb(20, 23, 26)",
    ]


@needs("chromium")
def test_the_browser_reports_the_faults_of_a_bad_page(tmp_path: Path) -> None:
    bad = open_page(
        '<html><body><p style="color:#999">faint</p><div style="width:900px">wide</div>'
        '<img src="http://elsewhere.invalid/x.png"><script>nonsense()</script></body></html>',
        tmp_path,
    )
    assert bad.faint
    assert bad.scroll > bad.inner
    assert bad.resources == ["http://elsewhere.invalid/x.png"]
    assert bad.requests[-1] == "http://elsewhere.invalid/x.png"
    assert "nonsense is not defined" in bad.errors[0]


def test_the_job_writes_it_to_the_key_in_the_file(built: crew.Repository) -> None:
    result = built.crew("run", "status", "production")
    assert result.code == 0, result
    assert "written to production/status/index.html" in result.out
    published = (built.store / "production" / "status" / "index.html").read_text()
    assert "<h2" in published
    assert "The next update is due at " in published
    assert "ruin" not in published
    assert "status page" not in published, "the page does not list the job that writes it"


def test_a_dry_run_writes_nothing_and_no_section_means_no_run(built: crew.Repository, tmp_path: Path) -> None:
    (built.store / "production" / "status" / "index.html").unlink(missing_ok=True)
    assert "would write production/status/index.html" in built.crew("run", "status", "production", "--dry-run").out
    assert not (built.store / "production" / "status" / "index.html").exists()
    assert "Nothing to run" in built.crew("run", "status", "staging").out


def test_the_strip_of_a_terminal_shows_the_same_days(built: crew.Repository) -> None:
    shop = built.crew("backups", "list", "production", "--strip").out.splitlines()[1]
    assert shop.startswith("shop ")
    assert shop.count("✕") == 2
    assert "█" in shop
    assert "▄▄▄" in shop
    days = built.crew("backups", "list", "production", "shop", "--strip", "--json").json["days"]
    assert [len(of_days) for of_days in days.values()] == [90]
    assert days["shop"].count("failed") == 2
    assert built.crew("backups", "list", "production", "nosuch", "--strip").code == 64
    assert "omit --all" in built.crew("backups", "list", "production", "--all", "--strip").err


def test_one_environment_alone(built: crew.Repository, tmp_path: Path) -> None:
    file = tmp_path / "staging.html"
    assert built.crew("status", "staging", "--html", str(file)).code == 0
    assert "No problems" in file.read_text()
    output = built.crew("status", "staging", "--html", str(file), "--json").json
    assert output["page"] == str(file)


def test_a_bucket_serves_it_as_html(moto: Bucket) -> None:
    open_store(Settings(moto.url, endpoint=moto.endpoint)).put("status/index.html", b"<p>")
    head = moto.client().head_object(Bucket=moto.name, Key=f"{moto.prefix}/status/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
