"""The tests of the shipped modules, which Terraform runs with a mock of the provider (tests/*.tftest.hcl)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.parts.terraform import NEW, ROOT, program, settings

MODULES = sorted(folder.name for folder in (ROOT / "terraform" / "modules").iterdir() if folder.is_dir())


@pytest.mark.parametrize("module", MODULES)
def test_a_module_passes_its_tests(module: str, tmp_path: Path) -> None:
    """Terraform writes beside the code, so it works on a copy."""
    folder = tmp_path / module
    shutil.copytree(ROOT / "terraform" / "modules" / module, folder)
    assert "passed, 0 failed" in _terraform(folder, "init") + _terraform(folder, "test")


def _terraform(folder: Path, command: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "TF_CLI_CONFIG_FILE": str(settings())}
    argv = [program(NEW), command, "-no-color"]
    ended = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
