"""What runs on GitHub is what a person runs by hand: make targets and crew, with as few rights as can be."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.made import TARGETS
from tests.pythons import VERSIONS

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
BIN = Path(sys.executable).parent
WORKFLOWS = {file.name: yaml.safe_load(file.read_text()) for file in sorted((GITHUB / "workflows").glob("*.yml"))}
EACH = pytest.mark.parametrize("name", WORKFLOWS)
ACTIONS = {
    "actions/checkout", "actions/setup-python", "actions/upload-artifact", "actions/download-artifact",
    "actions/dependency-review-action", "aws-actions/configure-aws-credentials", "docker/login-action",
    "github/codeql-action/init", "github/codeql-action/analyze", "hashicorp/setup-terraform",
    "softprops/action-gh-release",
}  # fmt: skip


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = WORKFLOWS[name]["jobs"]
    return found


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in jobs(name).values() for step in job["steps"]]


def test_those_that_there_must_be() -> None:
    assert set(WORKFLOWS) >= {"ci.yml", "security.yml", "release.yml", "drift.yml", "stacks.yml"}


@pytest.mark.parametrize(("schema", "file"), [("vendor.dependabot", "dependabot.yml")] + [
    ("vendor.github-workflows", f"workflows/{name}") for name in WORKFLOWS
])  # fmt: skip
def test_github_can_read_it(schema: str, file: str) -> None:
    argv = [BIN / "check-jsonschema", "--builtin-schema", schema, GITHUB / file]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout


@EACH
def test_a_step_is_a_make_target_or_crew(name: str) -> None:
    for line in [line for step in steps(name) if "run" in step for line in step["run"].strip().splitlines()]:
        target = re.fullmatch(r"make ([a-z-]+)", line)
        assert (target and target[1] in TARGETS) or re.fullmatch(r"crew [a-z -]+", line), line


@EACH
def test_what_others_made_is_known_and_of_a_version(name: str) -> None:
    for used in [step["uses"] for step in steps(name) if "uses" in step]:
        action, _, version = used.partition("@")
        assert action in ACTIONS
        assert re.fullmatch(r"v\d+(\.\d+)*", version), used


@EACH
def test_it_may_only_read_unless_a_job_says_more(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert "write-all" not in str(WORKFLOWS[name])


@EACH
def test_nothing_runs_for_ever_or_beside_itself(name: str) -> None:
    for job in jobs(name).values():
        assert job["timeout-minutes"] <= 60
        assert "concurrency" in WORKFLOWS[name] or "concurrency" in job


def test_no_word_of_strangers_reaches_a_shell() -> None:
    assert [step["run"] for name in WORKFLOWS for step in steps(name) if "${{" in step.get("run", "")] == []


def test_ci_tests_each_python_that_we_support_and_nothing_is_left_out() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest, highest = VERSIONS[0], VERSIONS[-1]
    assert project["requires-python"] == f">={lowest},<3.{int(highest.split('.')[1]) + 1}"
    assert tuple(jobs("ci.yml")["unit"]["strategy"]["matrix"]["python"]) == VERSIONS
    ran = {step["run"] for step in steps("ci.yml") if "run" in step}
    assert ran == {f"make {one}" for one in ("lint", "hooks", "test-unit", "test-integration", "test-lab", "coverage")}


def test_codeowners_names_what_is_there() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0][0] == "*"
    for pattern, *owners in lines[1:]:
        assert "production" in pattern or list(ROOT.glob(pattern.strip("/"))), pattern
        assert all(owner.startswith("@") for owner in owners)
