"""The paths of a stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terraform.paths import StackPaths


@pytest.mark.parametrize(
    ("writable", "expected"), [(True, "repository/.cache/terraform"), (False, "home/.cache/groundcrew/terraform")]
)
def test_the_cache_is_in_the_repository_or_at_home_if_that_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: str, *, writable: bool
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "access", lambda _path, _mode: writable)
    assert StackPaths(tmp_path / "repository", "try", "network").cache == tmp_path / expected


READ = ["main.tf", "hosts.yaml", "run.sh", "deep/down.json", "main.tofu", "terraform.tfvars.json"]
NOT_CODE = [".terraform.lock.hcl", ".terraform/modules/modules.json", "deep/.build/lambda.zip", "main.tf~"]


@pytest.mark.parametrize("folder", ["stacks/network", "modules/network"])
@pytest.mark.parametrize(("name", "counts"), [*((name, True) for name in READ), *((name, False) for name in NOT_CODE)])
def test_all_files_beside_the_code_count_except_hidden_files_and_backups(
    tmp_path: Path, folder: str, name: str, *, counts: bool
) -> None:
    paths, file = StackPaths(tmp_path / ".hidden", "try", "network"), tmp_path / ".hidden" / "terraform" / folder / name
    file.parent.mkdir(parents=True)
    file.write_text("old")
    before = paths.code_hash()
    file.write_text("new")
    assert (paths.code_hash() != before) is counts
