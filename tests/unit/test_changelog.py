"""The changelog: sections, headings and release notes."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests import changelog
from tests.changelog import CHANGELOG, HEADINGS, ROOT, UNRELEASED, Commit, heading, released, section, sections


@pytest.mark.parametrize(
    ("paths", "title"),
    [
        (["jobs/backup/take/take.py", "tests/unit/jobs/backup/test_take.py"], "Backups"),
        (["jobs/cost/bill.py", "jobs/cli/cost.py", "jobs/cost/aws.py"], "Cost"),
        (["jobs/log.py"], "Runs and the command line"),
        (["tests/conftest.py", "Makefile", "README.md"], None),
        ([], None),
    ],
)
def test_a_commit_is_listed_under_the_package_it_changes_most(paths: list[str], title: str | None) -> None:
    assert heading(Commit("x", tuple(paths))) == title


def test_a_release_is_written_as_the_changelog_has_it() -> None:
    commits = [
        Commit("Drop tables faster", ("jobs/backup/drop.py",)),
        Commit("Quicker tests", ("tests/conftest.py",)),
        Commit("Lock out nobody", ("deploys/dev_server.py",)),
        Commit("Drop tables faster", ("jobs/retention/job.py",)),
    ]
    made = section("0.2.0", "2026-12-01", commits)
    assert made == (
        "## 0.2.0 (2026-12-01)\n\n### Backups\n\n- Drop tables faster\n\n### Deploys\n\n- Lock out nobody\n"
    )
    assert sections(f"# Changes\n\n{made}\n## 0.1.0 (2026-01-01)\n") == {
        "0.2.0": made,
        "0.1.0": "## 0.1.0 (2026-01-01)\n",
    }


def test_unreleased_changes_become_the_section_of_the_version() -> None:
    text = "# Changelog\n\n## Unreleased\n\n- New\n\n## 0.1.0 (2026-01-01)\n"
    assert released(text, "0.2.0", "2026-12-01", []) == text.replace("Unreleased", "0.2.0 (2026-12-01)")


def test_without_unreleased_changes_the_commits_make_the_section() -> None:
    text = "# Changelog\n\n## 0.1.0 (2026-01-01)\n"
    made = released(text, "0.2.0", "2026-12-01", [Commit("Drop tables faster", ("jobs/backup/drop.py",))])
    assert list(sections(made)) == ["0.2.0", "0.1.0"]
    assert "- Drop tables faster" in sections(made)["0.2.0"]


def test_the_changelog_has_this_version_or_unreleased_changes() -> None:
    written = sections(CHANGELOG.read_text())
    assert {tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"], UNRELEASED} & set(written)
    for version, text in written.items():
        assert re.fullmatch(r"## (Unreleased|\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\))", text.splitlines()[0]), version
        assert set(re.findall(r"^### (.*)", text, re.MULTILINE)) <= set(HEADINGS.values())


def test_a_tag_that_is_not_the_version_makes_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_TYPE", "tag")
    monkeypatch.setenv("GITHUB_REF_NAME", "v99.0.0")
    with pytest.raises(SystemExit, match=r"The tag is v99\.0\.0, but pyproject\.toml has version"):
        changelog.version()
