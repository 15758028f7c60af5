"""The scripts of the workflows, with a crew that says what it is told to, and a GitHub that may not answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inventories import Repository
from jobs.cli.output import print_json
from terraform.drift import DriftFinding, DriftKind
from terraform.report import DriftReport, StackReport, as_json, as_markdown
from tests.parts import github
from tests.parts.terraform import ROOT

OWNER = DriftFinding(DriftKind.CHANGED, "aws_vpc.this", "tags.Owner", "platform", "mallory")
CLEAN, DRIFTED, FAILED = (
    StackReport("network"),
    StackReport("cluster", (OWNER,)),
    StackReport("database", error="AWS is out of reach"),
)


class Actions:
    """A folder on a runner of GitHub: scripts run there, and what they told."""

    def __init__(self, folder: Path, crew: str) -> None:
        self.bin = github.standing_in(folder / "bin", crew)
        self.folder = folder

    def run(self, script: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        path, summary = f"{self.bin}:{os.environ['PATH']}", str(self.folder / "summary")
        return subprocess.run(
            [ROOT / "terraform" / "ci" / script, *args],
            env={**os.environ, "PATH": path, "GITHUB_STEP_SUMMARY": summary, **more},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    @property
    def told(self) -> list[dict[str, Any]]:
        file = self.bin / "issues.json"
        found: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return found

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text()


class TestDrift:
    @pytest.fixture
    def actions(self, tmp_path: Path) -> Actions:
        return Actions(
            tmp_path, f"case $* in *json) cat {tmp_path}/json ;; *) cat {tmp_path}/markdown ;; esac; exit $CODE"
        )

    @pytest.fixture
    def look(self, actions: Actions, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
        """`look(1, FAILED)` is the script's end when crew ends with 1 and tells so of the stacks."""

        def looks(code: int, *seen: StackReport, **more: str) -> int:
            report = DriftReport("staging", seen)
            print_json({"environments": [as_json(report)]})
            (actions.folder / "json").write_text(capsys.readouterr().out)
            (actions.folder / "markdown").write_text("\n".join(as_markdown(report)))
            return actions.run("drift.sh", "staging", CODE=str(code), **more).returncode

        return looks

    def test_one_issue_is_made_kept_in_step_and_closed(self, actions: Actions, look: Callable[..., int]) -> None:
        assert look(0, CLEAN) == 0
        assert actions.told == []
        for edits in (0, 1):
            assert look(2, CLEAN, DRIFTED) == 0
            assert [(one["title"], one["open"], one["edits"]) for one in actions.told] == [
                ("Drift in staging", True, edits)
            ]
        assert look(0, CLEAN) == 0
        assert [one["open"] for one in actions.told] == [False]

    def test_drift_beside_a_stack_that_fails_is_told_all_the_same(
        self, actions: Actions, look: Callable[..., int]
    ) -> None:
        for edits in (0, 1):
            assert look(1, FAILED, DRIFTED) == 1
            assert [(one["open"], one["edits"]) for one in actions.told] == [(True, edits)]
        assert "mallory" in actions.told[0]["body"]
        assert "AWS is out of reach" in actions.told[0]["body"]

    def test_a_failure_alone_neither_makes_nor_closes_an_issue(
        self, actions: Actions, look: Callable[..., int]
    ) -> None:
        assert (look(1, FAILED, CLEAN), actions.told) == (1, [])
        look(2, DRIFTED)
        assert look(1, FAILED, CLEAN) == 1
        assert [(one["open"], one["edits"]) for one in actions.told] == [(True, 0)]

    def test_wrong_usage_keeps_its_code(self, actions: Actions, look: Callable[..., int]) -> None:
        assert (look(64), actions.told) == (64, [])

    @pytest.mark.parametrize(("code", "seen"), [(0, CLEAN), (1, DRIFTED), (2, DRIFTED)])
    def test_issues_that_can_not_be_listed_are_not_made_again(
        self, actions: Actions, look: Callable[..., int], code: int, seen: StackReport
    ) -> None:
        look(2, DRIFTED)
        before = actions.told
        assert look(code, seen, GH_FAILS="issue list") == 4
        assert actions.told == before


class TestPlan:
    @pytest.fixture
    def actions(self, tmp_path: Path) -> Actions:
        says = 'echo "staging/network: 1 to create"; echo "a word beside it" >&2'
        return Actions(tmp_path, f'echo "$*" >>{tmp_path}/asked; {says}; exit $CODE')

    def test_one_comment_holds_the_plan_and_nothing_else(self, actions: Actions) -> None:
        for edits in (0, 1):
            ended = actions.run("plan.sh", "staging", "17", CODE="0")
            assert (ended.returncode, ended.stderr) == (0, "a word beside it\n")
            [comment] = actions.told
            assert comment["edits"] == edits
        assert comment["body"] == (
            "<!-- crew stacks plan staging -->\n### Plan for staging\n\n"
            "~~~~~~~~\nstaging/network: 1 to create\n\n~~~~~~~~\n"
        )
        assert actions.summary == comment["body"] * 2

    def test_it_takes_no_lock(self, actions: Actions) -> None:
        actions.run("plan.sh", "staging", "17", CODE="0")
        assert (actions.folder / "asked").read_text() == "stacks plan staging --no-lock\n"

    def test_of_one_that_failed_the_error_is_told(self, actions: Actions) -> None:
        ended = actions.run("plan.sh", "staging", "17", CODE="1")
        assert ended.returncode == 1
        [comment] = actions.told
        assert "1 to create\na word beside it\n" in comment["body"]

    def test_without_a_pull_request_it_is_told_in_the_summary_alone(self, actions: Actions) -> None:
        assert actions.run("plan.sh", "production", CODE="0").returncode == 0
        assert "### Plan for production" in actions.summary
        assert actions.told == []
        assert actions.run("plan.sh", "production", CODE="1").returncode == 1

    def test_comments_that_can_not_be_listed_are_not_made_again(self, actions: Actions) -> None:
        actions.run("plan.sh", "staging", "17", CODE="0")
        before = actions.told
        assert actions.run("plan.sh", "staging", "17", CODE="0", GH_FAILS="api --paginate").returncode == 4
        assert actions.told == before


class TestEnvironments:
    def test_those_with_stacks_are_listed_and_one_that_can_not_be_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from terraform.ci.environments import main

        (tmp_path / "inventories").mkdir()
        for name, more in {"qa": "[stacks.network]", "try": "", "wrong": "[stacks"}.items():
            head = f'[environment]\nname = "{name}"\n[store]\nurl = "file:///store"\nencrypt_to = "nobody"\n'
            (tmp_path / "inventories" / name).write_text("servers = []\n")
            (tmp_path / "inventories" / f"{name}.toml").write_text(f"{head}{more}\n")
        monkeypatch.chdir(tmp_path)
        main()
        assert capsys.readouterr().out == 'environments=["qa", "wrong"]\n'

    def test_the_target_gives_them_to_the_next_job(self, tmp_path: Path) -> None:
        output = tmp_path / "output"
        argv = ["make", "environments", f"PYTHON={sys.executable}"]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "GITHUB_OUTPUT": str(output)}, check=True)
        shipped = Repository.find(ROOT)
        names = [name for name in shipped.names() if shipped.read(name).stacks]
        assert output.read_text() == f"environments={json.dumps(names)}\n"
