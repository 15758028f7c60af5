"""Tests that cannot run on a machine are left out, and the run says how many and why."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest
from tests.parts import needs, postgres

RETENTION = Path(__file__).parent / "jobs/retention"


def item(*parts: str, fixtures: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(iter_markers=lambda name: [SimpleNamespace(args=parts)], fixturenames=fixtures)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("sh", ""),
        ("no-such-program", "the program is not installed"),
        ("postgres-12", "neither npm nor pip has its server programs here"),
    ],
)
def test_the_reason_why_a_part_is_missing(part: str, reason: str) -> None:
    assert needs.why_missing(part) == reason


def test_a_test_needs_the_parts_of_its_marks_and_fixtures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "why_missing", lambda part: "" if part == "age" else "missing")
    assert needs.missing(item("age", "root", fixtures=("fresh", "tmp_path"))) == ["root", "lab"]
    assert needs.missing(item("age")) == []


def test_the_run_lists_at_its_end_what_was_left_out_and_why() -> None:
    lines: list[str] = []
    skipped = [SimpleNamespace(longrepr=("file", 1, "Skipped: needs postgres-12"))]
    reporter: Any = SimpleNamespace(
        stats={"skipped": skipped}, write_sep=lambda _, title: lines.append(title), write_line=lines.append
    )
    config: Any = SimpleNamespace(stash={conftest.LEFT_OUT: Counter({"no-such-program": 3})})
    conftest.pytest_terminal_summary(reporter, config)
    assert lines == [
        "left out on this machine",
        "    3 tests need no-such-program: the program is not installed",
        "    1 tests need postgres-12: neither npm nor pip has its server programs here",
        "As root on Debian or Ubuntu, `make setup` installs what is missing.",
    ]


def test_pytest_needs_no_plugin() -> None:
    """So that a folder such as this one can be tested with crew, pytest and hypothesis alone."""
    argv = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", RETENTION]
    without = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(argv, cwd=RETENTION.parents[3], env=without, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_slow_tests_run_first() -> None:
    files = ["unit/test_needs.py", "lab/test_k3s.py", "integration/terraform/test_staging.py", "lab/test_job_runner.py"]
    paths = [conftest.TESTS / file for file in files]
    assert sorted(paths, key=conftest._turn) == [paths[at] for at in (2, 1, 3, 0)]


def test_servers_from_npm_are_on_the_path_once() -> None:
    once = postgres.path("/usr/bin")
    assert once.startswith("/usr/bin")
    assert postgres.path(once) == once
