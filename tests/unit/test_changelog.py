"""What a release says of itself fits what CHANGELOG.md has."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests import changelog
from tests.changelog import CHANGELOG, HEADINGS, ROOT, Commit, heading, section, sections


@pytest.mark.parametrize(
    ("paths", "title"),
    [
        (["jobs/backup/take/take.py", "tests/unit/jobs/backup/test_take.py"], "Backups"),
        (["jobs/cost/bill.py", "jobs/cli/cost.py", "jobs/cost/aws.py"], "The bill"),
        (["jobs/log.py"], "Runs and the command line"),
        (["tests/conftest.py", "Makefile", "README.md"], None),
        ([], None),
    ],
)
def test_a_commit_stands_where_a_user_looks_for_it(paths: list[str], title: str | None) -> None:
    assert heading(Commit("x", tuple(paths))) == title


def test_a_release_is_written_as_the_changelog_has_it() -> None:
    told = [
        Commit("Drop tables faster", ("jobs/backup/drop.py",)),
        Commit("Quicker tests", ("tests/conftest.py",)),
        Commit("Lock out nobody", ("deploys/dev_server.py",)),
        Commit("Drop tables faster", ("jobs/retention/job.py",)),
    ]
    made = section("0.2.0", "2026-12-01", told)
    assert made == (
        "## 0.2.0 (2026-12-01)\n\n### Backups\n\n- Drop tables faster\n\n### Deploys\n\n- Lock out nobody\n"
    )
    assert sections(f"# Changes\n\n{made}\n## 0.1.0 (2026-01-01)\n") == {
        "0.2.0": made,
        "0.1.0": "## 0.1.0 (2026-01-01)\n",
    }


def test_the_changelog_is_of_that_shape_and_has_this_version() -> None:
    released = sections(CHANGELOG.read_text())
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] in released
    for version, text in released.items():
        assert re.fullmatch(r"## \d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)", text.splitlines()[0]), version
        assert set(re.findall(r"^### (.*)", text, re.MULTILINE)) <= set(HEADINGS.values())


def test_a_tag_that_is_not_the_version_makes_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_TYPE", "tag")
    monkeypatch.setenv("GITHUB_REF_NAME", "v99.0.0")
    with pytest.raises(SystemExit, match=r"The tag is v99\.0\.0, and pyproject\.toml has version"):
        changelog.version()
