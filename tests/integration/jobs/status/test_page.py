"""The status page in a real browser, written by the command and by the job."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.run.documents import utc_now
from jobs.store import open_store
from tests.parts import crew, sample_repository
from tests.parts.browser import HOST, PageView, open_page
from tests.parts.needs import needs
from tests.parts.s3 import Bucket
from tests.parts.store import Settings


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> crew.Repository:
    root = tmp_path_factory.mktemp("house")
    sample_repository.build(root, utc_now())
    return crew.Repository(root)


@pytest.fixture(scope="module")
def page(built: crew.Repository) -> str:
    file = built.root / "status.html"
    said = built.crew("status", "--html", str(file))
    assert said.code == 78, "one environment's file is in ruins, and the page is written"
    assert said.out == f"wrote {file}\n"
    return file.read_text()


@pytest.fixture(scope="module", params=[(360, False), (360, True), (1200, False)], ids=["phone", "night", "desk"])
def saw(request: pytest.FixtureRequest, page: str, tmp_path_factory: pytest.TempPathFactory) -> PageView:
    width, dark = request.param
    return open_page(page, tmp_path_factory.mktemp("browser"), width=width, dark=dark)


@needs("chromium")
def test_what_is_wrong_is_on_top_in_words_with_since_when(saw: PageView) -> None:
    lines = saw.text.splitlines()
    assert "wrong" in lines[0]
    top = saw.text[: saw.text.index("Backups")]
    assert "ruin: its news can't be had. inventories/ruin.toml: nonsense: unknown key" in top
    assert f"production: backup {sample_repository.LONG_NAME} ✕ failed since " in top
    assert "(5 h): crm.internal: <no route> to host & no backup" in top
    assert "production: drift cluster ▲ finding since " in top
    assert saw.title.endswith("wrong: ruin, production, staging")


@needs("chromium")
def test_backups_drift_cost_and_the_next_runs_are_there(saw: PageView) -> None:
    for words in (
        "shop", "1 h old, of ", "1.4 GB", "7 h ago", "network", "as the code says", "USD spent of 330.00",
        "All that runs", "staging", "Nothing has run here yet.",
    ):  # fmt: skip
        assert words in saw.text
    size, cost = saw.pictures
    assert str(size).startswith("Size of the last 28 backups: from 1.0 GB to 1.4 GB")
    assert "USD spent of 330.00" in str(cost)


@needs("chromium")
def test_nothing_is_asked_for_and_nothing_breaks(saw: PageView, page: str) -> None:
    assert saw.requests == [f"{HOST}/probe", f"{HOST}/page"]
    assert saw.resources == []
    assert saw.complaints == []
    assert "<script" not in page


@needs("chromium")
def test_it_can_be_read(saw: PageView) -> None:
    assert saw.scroll <= saw.inner, "it scrolls sideways"
    assert saw.checked > 50
    assert saw.faint == []


@needs("chromium")
def test_it_can_be_heard(saw: PageView) -> None:
    assert all(saw.pictures), "a picture without words"
    assert set(saw.tables) == {"Backups", "Drift", "All that runs"}
    assert saw.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(saw.headings, saw.headings[1:], strict=False))


@needs("chromium")
def test_states_are_words_and_signs_not_colours_alone(saw: PageView) -> None:
    assert set(saw.states) >= {"✕ failed", "▲ finding", "✓ ok", "✕ none"}
    assert all(state[0] in "✕▲▶○✓" and len(state) > 3 for state in saw.states)


@needs("chromium")
def test_it_is_dark_by_night(page: str, tmp_path: Path) -> None:
    assert [open_page(page, tmp_path, dark=dark).page for dark in (False, True)] == [
        "rgb(251, 251, 249)",
        "rgb(20, 23, 26)",
    ]


@needs("chromium")
def test_the_browser_sees_what_a_bad_page_does(tmp_path: Path) -> None:
    bad = open_page(
        '<html><body><p style="color:#999">faint</p><div style="width:900px">wide</div>'
        '<img src="http://elsewhere.invalid/x.png"><script>nonsense()</script></body></html>',
        tmp_path,
    )
    assert bad.faint
    assert bad.scroll > bad.inner
    assert bad.resources == ["http://elsewhere.invalid/x.png"]
    assert bad.requests[-1] == "http://elsewhere.invalid/x.png"
    assert "nonsense is not defined" in bad.complaints[0]


def test_the_job_publishes_it_where_the_file_says(built: crew.Repository) -> None:
    said = built.crew("run", "status", "production")
    assert said.code == 0, said
    assert "written to status/index.html" in said.out
    published = (built.store / "status" / "index.html").read_text()
    assert "<h2" in published
    assert "The next page is due at " in published
    assert "ruin" not in published
    assert "status page" not in published, "that it is being written is no news"


def test_a_dry_run_writes_nothing_and_no_status_section_says_so(built: crew.Repository, tmp_path: Path) -> None:
    (built.store / "status" / "index.html").unlink(missing_ok=True)
    assert "would write status/index.html" in built.crew("run", "status", "production", "--dry-run").out
    assert not (built.store / "status" / "index.html").exists()
    assert "Nothing to run" in built.crew("run", "status", "staging").out


def test_one_environment_alone(built: crew.Repository, tmp_path: Path) -> None:
    file = tmp_path / "staging.html"
    assert built.crew("status", "staging", "--html", str(file)).code == 0
    assert "Nothing is wrong" in file.read_text()
    told = built.crew("status", "staging", "--html", str(file), "--json").json
    assert told["page"] == str(file)


def test_a_bucket_shows_it_as_a_page(moto: Bucket) -> None:
    open_store(Settings(moto.url, endpoint=moto.endpoint)).put("status/index.html", b"<p>")
    head = moto.client().head_object(Bucket=moto.name, Key=f"{moto.prefix}/status/index.html")
    assert head["ContentType"] == "text/html; charset=utf-8"
