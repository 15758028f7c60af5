"""The first day of a fork: without the shipped environments, with one from `crew init`, everything still passes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.parts import clone

BIN = Path(sys.executable).parent
SHIPPED = ("dev", "staging", "production")
ASKS = re.compile(r"parents\[\d\]|\bROOT\b|MAKEFILE")  # these read files of the repository


@pytest.fixture(scope="module")
def fork(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository after the first steps of a team."""
    folder = clone.fresh(tmp_path_factory.mktemp("fork") / "acme")
    for name in SHIPPED:
        for path in (folder / "inventories" / name, folder / "inventories" / f"{name}.toml"):
            path.unlink(missing_ok=True)
        shutil.rmtree(folder / "terraform" / "environments" / name, ignore_errors=True)
    shutil.rmtree(folder / "inventories" / "sanitise", ignore_errors=True)
    made = run(
        folder, "crew", "init", "acme", "--store", f"file://{folder.parent}/store", "--encrypt-to", "nobody", "--yes"
    )
    assert made.returncode == 0, made.stderr
    return folder


def run(folder: Path, program: str, *args: str) -> subprocess.CompletedProcess[str]:
    environment = clone.environment(folder, GIT_CEILING_DIRECTORIES=str(folder.parent))
    return subprocess.run(
        [BIN / program, *args], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_its_environment_needs_no_other(fork: Path) -> None:
    checked = run(fork, "crew", "check", "acme")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert re.search(r"^acme: all \d+ checks ok|^acme: .*warning", checked.stdout, re.MULTILINE), checked.stdout
    status = run(fork, "crew", "status")
    assert status.returncode == 0, status.stdout + status.stderr
    assert "acme: no runs yet" in status.stdout


def test_import_contracts_name_no_missing_module(fork: Path) -> None:
    linted = run(fork, "lint-imports", "--no-logo")
    assert linted.returncode == 0, linted.stdout


def test_workflows_skip_environments_that_were_deleted(fork: Path) -> None:
    """Workflows list the environments with stacks first, and skip all others. acme has no stacks yet."""
    listed = run(fork, "python", "-m", "terraform.ci.environments")
    assert (listed.returncode, listed.stdout) == (0, "environments=[]\n"), listed.stderr
    for name in ("drift.yml", "stacks.yml"):
        for job in yaml.safe_load((fork / ".github" / "workflows" / name).read_text())["jobs"].values():
            for gone in [name for name in SHIPPED if name in str(job.get("environment", ""))]:
                waits_for_the_plan = "needs.production-plan.result == 'success'" in job["if"]
                assert (
                    waits_for_the_plan or f"contains(fromJSON(needs.environments.outputs.names), '{gone}')" in job["if"]
                )
            assert not any(name in str(job.get("strategy", "")) for name in SHIPPED)


@pytest.mark.long
def test_the_tests_that_read_the_repository_pass(fork: Path) -> None:
    """All other tests create what they read, so deleted files do not matter to them."""
    test_files = [
        str(path.relative_to(fork))
        for folder in ("tests/unit", "tests/integration/terraform/test_code.py")
        for path in ([fork / folder] if folder.endswith(".py") else sorted((fork / folder).rglob("test_*.py")))
        if ASKS.search(path.read_text())
    ]
    assert len(test_files) > 8
    subprocess.run(["git", "init", "--quiet", fork], check=True)
    subprocess.run(["git", "-C", fork, "add", "--all"], check=True)
    passed = run(fork, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *test_files)
    assert passed.returncode == 0, passed.stdout[-6000:]
    assert "failed" not in passed.stdout
