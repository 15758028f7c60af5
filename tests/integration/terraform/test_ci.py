"""The scripts of the workflows, with a fake crew that prints given output and a fake GitHub that can fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inventories import Repository
from jobs.cli.drift import _write_reports
from terraform.drift import DriftFinding, DriftKind
from terraform.report import DriftReport, StackReport, as_markdown
from tests.parts import github
from tests.parts.terraform import ROOT

OWNER = DriftFinding(DriftKind.CHANGED, "aws_vpc.this", "tags.Owner", "platform", "mallory")
CLEAN, DRIFTED, FAILED = (
    StackReport("network"),
    StackReport("cluster", (OWNER,)),
    StackReport("database", error="AWS is unreachable"),
)


class Actions:
    """A fake GitHub runner: runs a script, and keeps its issues, comments and summary."""

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
    def messages(self) -> list[dict[str, Any]]:
        file = self.bin / "issues.json"
        messages: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return messages

    @property
    def summary(self) -> str:
        return (self.folder / "summary").read_text()


class TestDrift:
    @pytest.fixture
    def actions(self, tmp_path: Path) -> Actions:
        (tmp_path / "reports").mkdir()
        copied = 'while [ "$1" != --reports ]; do shift; done; cp -r '
        return Actions(tmp_path, f'cat {tmp_path}/markdown; {copied} {tmp_path}/reports/. "$2"; exit $CODE')

    @pytest.fixture
    def check(self, actions: Actions) -> Callable[..., int]:
        """`check(1, FAILED)` is the exit code of the script if crew exits 1 and reports these stacks."""

        def run(code: int, *stacks: StackReport, **more: str) -> int:
            report = DriftReport("staging", stacks)
            for old in (actions.folder / "reports").iterdir():
                old.unlink()
            _write_reports([report], actions.folder / "reports")
            (actions.folder / "markdown").write_text("\n".join(as_markdown(report)))
            return actions.run("drift.sh", "staging", CODE=str(code), **more).returncode

        return run

    def test_one_issue_is_created_updated_and_closed(self, actions: Actions, check: Callable[..., int]) -> None:
        assert check(0, CLEAN) == 0
        assert actions.messages == []
        for edits in (0, 1):
            assert check(2, CLEAN, DRIFTED) == 0
            assert [(issue["title"], issue["open"], issue["edits"]) for issue in actions.messages] == [
                ("Drift in staging", True, edits)
            ]
        assert check(0, CLEAN) == 0
        assert [issue["open"] for issue in actions.messages] == [False]

    def test_drift_is_reported_although_another_stack_fails(self, actions: Actions, check: Callable[..., int]) -> None:
        for edits in (0, 1):
            assert check(1, FAILED, DRIFTED) == 1
            assert [(issue["open"], issue["edits"]) for issue in actions.messages] == [(True, edits)]
        assert "mallory" in actions.messages[0]["body"]
        assert "AWS is unreachable" in actions.messages[0]["body"]

    def test_a_failure_alone_neither_creates_nor_closes_an_issue(
        self, actions: Actions, check: Callable[..., int]
    ) -> None:
        assert check(1, FAILED, CLEAN) == 1
        assert actions.messages == []
        check(2, DRIFTED)
        assert check(1, FAILED, CLEAN) == 1
        assert [(issue["open"], issue["edits"]) for issue in actions.messages] == [(True, 0)]

    def test_each_stack_has_an_issue_that_is_closed_when_it_is_clean(
        self, actions: Actions, check: Callable[..., int]
    ) -> None:
        other = replace(DRIFTED, stack="network")
        assert check(2, other, DRIFTED, PER_STACK="yes") == 0
        assert check(1, replace(FAILED, stack="cluster"), CLEAN, PER_STACK="yes") == 1
        found = sorted((issue["title"], issue["open"], issue["edits"]) for issue in actions.messages)
        assert found == [("Drift in staging/cluster", True, 0), ("Drift in staging/network", False, 0)]
        assert check(0, CLEAN, replace(CLEAN, stack="cluster"), PER_STACK="yes") == 0
        assert [issue["open"] for issue in actions.messages] == [False, False]

    def test_wrong_usage_keeps_its_exit_code(self, actions: Actions, check: Callable[..., int]) -> None:
        assert check(64) == 64
        assert actions.messages == []

    @pytest.mark.parametrize(("code", "stack"), [(0, CLEAN), (1, DRIFTED), (2, DRIFTED)])
    def test_no_issue_is_created_if_issues_cannot_be_listed(
        self, actions: Actions, check: Callable[..., int], code: int, stack: StackReport
    ) -> None:
        check(2, DRIFTED)
        before = actions.messages
        assert check(code, stack, GH_FAILS="issue list") == 4
        assert actions.messages == before


class TestPlan:
    @pytest.fixture
    def actions(self, tmp_path: Path) -> Actions:
        script = 'echo "staging/network: 1 to create"; echo "a line on stderr" >&2'
        return Actions(tmp_path, f'echo "$*" >>{tmp_path}/commands; {script}; exit $CODE')

    def test_one_comment_has_the_plan_and_nothing_else(self, actions: Actions) -> None:
        for edits in (0, 1):
            completed = actions.run("plan.sh", "staging", "17", CODE="0")
            assert completed.returncode == 0, completed.stderr
            assert completed.stderr == "a line on stderr\n"
            [comment] = actions.messages
            assert comment["edits"] == edits
        assert comment["body"] == (
            "<!-- crew stacks plan staging -->\n### Plan for staging\n\n"
            "~~~~~~~~\nstaging/network: 1 to create\n\n~~~~~~~~\n"
        )
        assert actions.summary == comment["body"] * 2

    def test_the_plan_takes_no_lock(self, actions: Actions) -> None:
        actions.run("plan.sh", "staging", "17", CODE="0")
        assert (actions.folder / "commands").read_text() == "stacks plan staging --no-lock\n"

    def test_a_kept_plan_becomes_an_output_of_the_step(self, tmp_path: Path) -> None:
        kept, output = "1a2b3c4d5e6f-0123456789abcdef01234567", tmp_path / "output"
        crew = f'echo "$*" >>{tmp_path}/commands; echo "staging/network: kept as fff"; echo "kept as {kept}"'
        actions = Actions(tmp_path, crew)
        for keep in ("", "yes"):
            assert actions.run("plan.sh", "staging", KEEP=keep, GITHUB_OUTPUT=str(output)).returncode == 0
        assert output.read_text() == f"kept={kept}\n"
        commands = (tmp_path / "commands").read_text().splitlines()
        assert commands == ["stacks plan staging --no-lock", "stacks plan staging --no-lock --keep"]

    def test_a_failed_plan_shows_the_error(self, actions: Actions) -> None:
        completed = actions.run("plan.sh", "staging", "17", CODE="1")
        assert completed.returncode == 1
        [comment] = actions.messages
        assert "1 to create\na line on stderr\n" in comment["body"]

    def test_without_a_pull_request_the_plan_is_only_in_the_summary(self, actions: Actions) -> None:
        assert actions.run("plan.sh", "production", CODE="0").returncode == 0
        assert "### Plan for production" in actions.summary
        assert actions.messages == []
        assert actions.run("plan.sh", "production", CODE="1").returncode == 1

    def test_no_comment_is_created_if_comments_cannot_be_listed(self, actions: Actions) -> None:
        actions.run("plan.sh", "staging", "17", CODE="0")
        before = actions.messages
        assert actions.run("plan.sh", "staging", "17", CODE="0", GH_FAILS="api --paginate").returncode == 4
        assert actions.messages == before


class TestEnvironments:
    def test_environments_with_stacks_or_faults_are_listed(
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

    def test_the_make_target_writes_a_step_output(self, tmp_path: Path) -> None:
        output = tmp_path / "output"
        argv = ["make", "environments", f"PYTHON={sys.executable}"]
        subprocess.run(argv, cwd=ROOT, env={**os.environ, "GITHUB_OUTPUT": str(output)}, check=True)
        shipped = Repository.find(ROOT)
        names = [name for name in shipped.names() if shipped.read(name).stacks]
        assert output.read_text() == f"environments={json.dumps(names)}\n"
