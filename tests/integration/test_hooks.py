"""The checks before a commit: this repository passes them, and they stop what must not be committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ".pre-commit-config.yaml"
BIN = Path(sys.executable).parent
HOOKS = [hook["id"] for hook in yaml.safe_load((ROOT / CONFIG).read_text())["repos"][0]["hooks"]]

Hooks = Callable[..., subprocess.CompletedProcess[str]]


def run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {
        # Coverage would start in each Python of a hook.
        **{name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_PROCESS")},
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    argv = [BIN / "pre-commit", "run", "--all-files", "--color=never", *args]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_this_repository_passes_them_all() -> None:
    ended = run(ROOT)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("Passed") == len(HOOKS)


@pytest.fixture(scope="module")
def hooks(tmp_path_factory: pytest.TempPathFactory) -> Hooks:
    """A repository with these hooks; `hooks(id, name, text)` runs one of them on a file."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / ".venv").symlink_to(BIN.parent)
    shutil.copy(ROOT / CONFIG, folder)
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "tests" / "parts").mkdir(parents=True)
    for name in ("__init__.py", "parts/__init__.py", "parts/age_keys.py", "parts/terraform.py"):
        shutil.copy(ROOT / "tests" / name, folder / "tests" / name)
    (folder / ".gitignore").write_text(".venv\n.cache\n*cache*\n")
    subprocess.run(["git", "init", "--quiet", folder], check=True)

    def look(hook: str, name: str, text: str) -> subprocess.CompletedProcess[str]:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        subprocess.run(["git", "-C", folder, "add", "--all"], check=True)
        try:
            return run(folder, hook)
        finally:
            file.unlink()

    return look


HELD_BACK = [
    ("ruff-check", "jobs/x.py", "print(undefined)\n"),
    ("ruff-format", "jobs/x.py", "x  =  1\n"),
    ("mypy", "jobs/__init__.py", 'x: int = "no number"\n'),
    ("terraform-fmt", "x.tf", 'variable "x" {\ntype=string\n}\n'),
    ("check-added-large-files", "large", "x" * 500_000),
    ("detect-private-key", "key", "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nabc\n"),
    ("detect-secrets", "age.key", "AGE-SECRET-KEY-1" + "Q" * 58 + "\n"),
    ("detect-secrets", "x.toml", 'url = "postgresql://me:' + 'q8sdWm@db/shop"\n'),
    ("detect-secrets", "x.py", 'key = "AKIA' + 'QYLPMN5HHHFPZAM2"\n'),
    ("check-merge-conflict", "x.md", "<" * 7 + " HEAD\n"),
    ("end-of-file-fixer", "x.md", "no end"),
]


@pytest.mark.parametrize(("hook", "name", "text"), HELD_BACK, ids=[f"{hook}-{name}" for hook, name, _ in HELD_BACK])
def test_what_should_not_get_in_is_held_back(hooks: Hooks, hook: str, name: str, text: str) -> None:
    ended = hooks(hook, name, text)
    assert "Failed" in ended.stdout, ended.stdout + ended.stderr


def test_each_of_them_is_seen_to_hold_something_back() -> None:
    assert {hook for hook, _, _ in HELD_BACK} == set(HOOKS)
