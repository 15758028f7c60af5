"""When `init` runs again, with a program that counts its calls."""

from __future__ import annotations

from pathlib import Path

import pytest

from inventories import Repository
from terraform.paths import LOCK_FILE, StackPaths
from terraform.program import start_directly
from terraform.stack import Stack


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    program = tmp_path / "terraform-that-counts"
    writes = f"echo init >>{tmp_path}/inits; test -e {LOCK_FILE} || echo 'a lock' >{LOCK_FILE}"
    program.write_text(f'#!/bin/sh\nif [ "$1" = init ]; then {writes}; else echo "Terraform v1.0.3"; fi\n')
    program.chmod(0o755)
    folder = tmp_path / "terraform" / "stacks" / "network"
    folder.mkdir(parents=True)
    (folder / "main.tf").write_text("")
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "staging").write_text("servers = []\n")
    (tmp_path / "inventories" / "staging.toml").write_text(
        f'[environment]\nname = "staging"\n[store]\nurl = "file://{tmp_path}/store"\nencrypt_to = "nobody"\n'
        f'[terraform]\nprogram = "{program}"\n'
        'state = { bucket = "acme", region = "eu-central-1", lock_table = "locks" }\n[stacks.network]\n'
    )
    return Stack(StackPaths(tmp_path, "staging", "network"), Repository.find(tmp_path).read("staging"), start_directly)


def inits(stack: Stack) -> int:
    """The number of `init` runs when the stack is ready."""
    with stack.ready():
        return len((stack.paths.root / "inits").read_text().split())


def test_init_runs_once_although_it_writes_the_lock_file(stack: Stack) -> None:
    assert [inits(stack), inits(stack)] == [1, 1]


def test_init_runs_again_for_other_providers(stack: Stack) -> None:
    """A newer lock file is pulled, or the lock file is deleted."""
    assert inits(stack) == 1
    (stack.paths.folder / LOCK_FILE).write_text("a newer lock")
    assert [inits(stack), inits(stack)] == [2, 2]
    (stack.paths.folder / LOCK_FILE).unlink()
    assert [inits(stack), inits(stack)] == [3, 3]


def test_init_runs_again_for_other_code(stack: Stack) -> None:
    assert inits(stack) == 1
    (stack.paths.folder / "main.tf").write_text("# else\n")
    assert [inits(stack), inits(stack)] == [2, 2]
