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
from tests.parts.terraform import NEW
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


def test_those_jobs_of_ci_are_privileged_whose_tests_boot_hosts_and_no_others() -> None:
    def boots(job: dict[str, Any]) -> bool:
        rooms = [line["run"].removeprefix("make test-") for line in job["steps"] if "make test-" in line.get("run", "")]
        files = [file for room in rooms for file in (ROOT / "tests" / room).rglob("*.py")]
        return any(re.search(r'needs\([^)]*"lab"', file.read_text()) for file in files)

    found = {name for name, job in jobs("ci.yml").items() if "--privileged" in str(job["container"])}
    assert found == {name for name, job in jobs("ci.yml").items() if boots(job)} >= {"lab"}


def of_stacks() -> dict[str, dict[str, Any]]:
    """The jobs that reach into a cloud."""
    return {
        name: job for file in ("drift.yml", "stacks.yml") for name, job in jobs(file).items() if "environment" in job
    }


def test_who_may_write_runs_for_what_is_merged_and_nothing_else() -> None:
    writing = {name: job for name, job in of_stacks().items() if "AWS_WRITING_ROLE" in str(job)}
    assert set(writing) == {name for name, job in of_stacks().items() if "crew stacks apply" in str(job)}
    assert set(writing) == {name for name, job in of_stacks().items() if not job["environment"].endswith("-reading")}
    for job in writing.values():
        assert "github.ref == 'refs/heads/main'" in job["if"].split(" && ")


def test_who_approves_production_has_a_plan_before_his_eyes() -> None:
    plan, production = of_stacks()["production-plan"], of_stacks()["production"]
    assert production["needs"] == "production-plan"
    assert "needs.production-plan.result == 'success'" in production["if"].split(" && ")
    assert plan["env"]["ENVIRONMENT"] == production["environment"] == "production"
    assert (plan["environment"], plan["steps"][-1]["run"]) == ("production-reading", "make plan-summary")
    assert "AWS_READING_ROLE" in str(plan)


@pytest.mark.parametrize("name", of_stacks())
def test_an_environment_that_has_no_stacks_is_skipped(name: str) -> None:
    """Each asks the list that the first job has made, or waits for one that does."""
    job, listed = of_stacks()[name], "needs.environments.outputs.names"
    if "matrix" in job["environment"]:
        assert job["strategy"]["matrix"] == {"environment": f"${{{{ fromJSON({listed}) }}}}"}
        assert f"{listed} != '[]'" in job["if"].split(" && ")
    elif name == "production":
        assert job["needs"] == "production-plan"
    else:
        asked = job["environment"].removesuffix("-reading")
        assert f"contains(fromJSON({listed}), '{asked}')" in job["if"].split(" && ")


@EACH
def test_terraform_is_of_the_version_that_the_tests_know(name: str) -> None:
    used = [step["with"] for step in steps(name) if "setup-terraform" in step.get("uses", "")]
    assert [one["terraform_version"] for one in used] == [NEW] * len(used)


def test_codeowners_names_what_is_there() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0][0] == "*"
    for pattern, *owners in lines[1:]:
        assert "production" in pattern or list(ROOT.glob(pattern.strip("/"))), pattern
        assert all(owner.startswith("@") for owner in owners)
