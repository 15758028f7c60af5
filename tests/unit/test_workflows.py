"""The GitHub workflows: each step is a make target or a crew command, with as few permissions as possible."""

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
    "actions/cache", "actions/checkout", "actions/setup-python", "actions/upload-artifact", "actions/download-artifact",
    "actions/dependency-review-action", "aws-actions/configure-aws-credentials", "docker/login-action",
    "github/codeql-action/init", "github/codeql-action/analyze", "hashicorp/setup-terraform",
    "softprops/action-gh-release",
}  # fmt: skip


def jobs(name: str) -> dict[str, dict[str, Any]]:
    workflow_jobs: dict[str, dict[str, Any]] = WORKFLOWS[name]["jobs"]
    return workflow_jobs


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in jobs(name).values() for step in job["steps"]]


def test_all_expected_workflows_exist() -> None:
    expected = ("apps", "ci", "drift", "hosts", "release", "security", "stacks")
    assert set(WORKFLOWS) >= {f"{name}.yml" for name in expected}


@pytest.mark.parametrize(
    ("schema", "files"),
    [("dependabot", ["dependabot.yml"]), ("github-workflows", [f"workflows/{name}" for name in WORKFLOWS])],
)
def test_files_match_the_github_schema(schema: str, files: list[str]) -> None:
    argv = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *(GITHUB / file for file in files)]
    completed = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stdout


@EACH
def test_each_step_is_a_make_target_or_crew(name: str) -> None:
    for line in [line for step in steps(name) if "run" in step for line in step["run"].strip().splitlines()]:
        target = re.fullmatch(r"make ([a-z-]+)", line)
        assert (target and target[1] in TARGETS) or re.fullmatch(r'crew [a-z -]+("\$[A-Z]+" [a-z -]+)?', line), line


@EACH
def test_external_actions_are_known_and_pinned(name: str) -> None:
    for used in [step["uses"] for step in steps(name) if "uses" in step]:
        action, _, version = used.partition("@")
        assert action in ACTIONS
        assert re.fullmatch(r"v\d+(\.\d+)*", version), used


@EACH
def test_permissions_are_read_only_by_default(name: str) -> None:
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert "write-all" not in str(WORKFLOWS[name])


@EACH
def test_each_job_has_a_timeout_and_a_concurrency_group(name: str) -> None:
    for job in jobs(name).values():
        assert job["timeout-minutes"] <= 60
        assert "concurrency" in WORKFLOWS[name] or "concurrency" in job


@pytest.mark.parametrize("kind", ["integration", "lab"])
def test_each_test_is_in_one_piece_of_the_matrix(kind: str) -> None:
    folder = ROOT / "tests" / kind
    found = [place for part in jobs("ci.yml")[kind]["strategy"]["matrix"]["part"] for place in folder.glob(part)]
    ran = [file for place in found for file in ([place] if place.is_file() else place.rglob("test_*.py"))]
    assert sorted(ran) == sorted(folder.rglob("test_*.py"))


def test_no_expression_is_expanded_in_a_shell_command() -> None:
    assert [step["run"] for name in WORKFLOWS for step in steps(name) if "${{" in step.get("run", "")] == []


def test_ci_runs_all_checks_on_each_supported_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lowest, highest = VERSIONS[0], VERSIONS[-1]
    assert project["requires-python"] == f">={lowest},<3.{int(highest.split('.')[1]) + 1}"
    assert tuple(jobs("ci.yml")["unit"]["strategy"]["matrix"]["python"]) == VERSIONS
    commands = {step["run"] for step in steps("ci.yml") if "run" in step}
    assert commands == {
        f"make {target}" for target in ("lint", "hooks", "test-unit", "test-integration", "test-lab", "coverage")
    }


def test_only_ci_jobs_that_boot_hosts_are_privileged() -> None:
    def boots(job: dict[str, Any]) -> bool:
        runs = [step["run"] for step in job["steps"] if "make test-" in step.get("run", "")]
        folders = [ROOT / "tests" / run.removeprefix("make test-") for run in runs]
        files = [file for folder in folders for file in folder.rglob("*.py")]
        return any(re.search(r'needs\([^)]*"lab"', file.read_text()) for file in files)

    privileged = {name for name, job in jobs("ci.yml").items() if "--privileged" in str(job["container"])}
    assert privileged == {name for name, job in jobs("ci.yml").items() if boots(job)} >= {"lab"}


def cloud_jobs() -> dict[str, dict[str, Any]]:
    """The jobs that use cloud credentials."""
    return {
        name: job for file in ("drift.yml", "stacks.yml") for name, job in jobs(file).items() if "environment" in job
    }


def test_jobs_with_write_access_run_only_on_main() -> None:
    writing = {name: job for name, job in cloud_jobs().items() if "AWS_WRITING_ROLE" in str(job)}
    assert set(writing) == {name for name, job in cloud_jobs().items() if "crew stacks apply" in str(job)}
    assert set(writing) == {name for name, job in cloud_jobs().items() if not job["environment"].endswith("-reading")}
    for job in writing.values():
        assert "github.ref == 'refs/heads/main'" in job["if"].split(" && ")


def test_production_waits_for_a_plan_in_the_summary() -> None:
    plan, production = cloud_jobs()["production-plan"], cloud_jobs()["production"]
    assert production["needs"] == "production-plan"
    assert "needs.production-plan.result == 'success'" in production["if"].split(" && ")
    assert plan["env"]["ENVIRONMENT"] == production["environment"] == "production"
    assert (plan["environment"], plan["steps"][-1]["run"]) == ("production-reading", "make plan-summary")
    assert "AWS_READING_ROLE" in str(plan)


@pytest.mark.parametrize("name", cloud_jobs())
def test_environments_without_stacks_are_skipped(name: str) -> None:
    """Each job checks the list of the first job, or waits for a job that does."""
    job, listed = cloud_jobs()[name], "needs.environments.outputs.names"
    if "matrix" in job["environment"]:
        assert job["strategy"]["matrix"] == {"environment": f"${{{{ fromJSON({listed}) }}}}"}
        assert f"{listed} != '[]'" in job["if"].split(" && ")
    elif name == "production":
        assert job["needs"] == "production-plan"
    else:
        environment = job["environment"].removesuffix("-reading")
        assert f"contains(fromJSON({listed}), '{environment}')" in job["if"].split(" && ")


def test_hosts_are_compared_with_code_of_main_only() -> None:
    [job] = jobs("hosts.yml").values()
    assert set(job["if"].split(" && ")) == {"github.ref == 'refs/heads/main'", "vars.HOSTS_ENVIRONMENTS"}
    assert job["environment"].endswith("-reading")
    assert set(WORKFLOWS["hosts.yml"][True]) == {"schedule", "workflow_dispatch"}


def test_apps_reach_staging_from_main_and_production_from_a_release_after_approval() -> None:
    workflow = WORKFLOWS["apps.yml"]
    triggers = workflow[True]  # YAML reads `on` as true
    assert (triggers["push"]["branches"], triggers["release"], set(triggers)) == (
        ["main"],
        {"types": ["published"]},
        {"push", "release", "workflow_dispatch"},
    )
    conditions = {name: set(job["if"].split(" && ")) for name, job in jobs("apps.yml").items()}
    for name, job in jobs("apps.yml").items():
        assert job["environment"] == job["env"]["ENVIRONMENT"] == name
        assert f"contains(fromJSON(vars.APPS_ENVIRONMENTS || '[]'), '{name}')" in conditions[name]
        assert (job["steps"][0]["with"], job["steps"][-1]["run"]) == ({"fetch-depth": 0}, "make apps")
    assert conditions["staging"] >= {"github.event_name != 'release'", "github.ref == 'refs/heads/main'"}
    assert conditions["production"] >= {"github.event_name == 'release'", "!github.event.release.prerelease"}


@EACH
def test_workflows_use_the_terraform_version_of_the_tests(name: str) -> None:
    inputs = [step["with"] for step in steps(name) if "setup-terraform" in step.get("uses", "")]
    assert [values["terraform_version"] for values in inputs] == [NEW] * len(inputs)


def test_the_image_has_the_terraform_version_of_the_tests() -> None:
    assert f"hashicorp/terraform:{NEW} " in (ROOT / "Dockerfile").read_text()


def test_codeowners_lists_existing_paths() -> None:
    lines = [line.split() for line in (GITHUB / "CODEOWNERS").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0][0] == "*"
    for pattern, *owners in lines[1:]:
        assert "production" in pattern or list(ROOT.glob(pattern.strip("/"))), pattern
        assert all(owner.startswith("@") for owner in owners)
