"""When `init` runs again, with a program that counts its calls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from inventories import Repository
from terraform.errors import UnreadablePlan
from terraform.paths import LOCK_FILE, StackPaths
from terraform.program import start_directly
from terraform.stack import Stack
from tests.parts.patience import until


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


def test_a_wait_for_another_command_is_reported_and_does_not_stop_other_stacks(stack: Stack) -> None:
    lines: list[str] = []
    later = replace(stack, on_line=lines.append)
    other = replace(stack, paths=replace(stack.paths, stack="database"))
    other.paths.folder.mkdir()
    with ThreadPoolExecutor() as pool:
        with stack.ready():
            (stack.paths.folder / "main.tf").write_text("# else\n")
            waiting = pool.submit(inits, later)
            until(lambda: lines)
            assert inits(other) == 2
            assert not waiting.done()
        assert waiting.result() == 3
    assert lines == ["waiting until another crew command for this stack ends, because `terraform init` must run alone"]


@pytest.mark.parametrize(
    "changes", ["[]", '[{"address": "a.x", "type": "a", "name": "x", "change": {"actions": ["no-op"]}}]']
)
def test_an_exit_code_for_changes_without_any_listed_change_is_an_error(stack: Stack, changes: str) -> None:
    """A newer Terraform can plan something that its JSON lists under a name that crew does not read."""
    program = stack.paths.root / "terraform-that-counts"
    show = f"""echo '{{"format_version": "1.2", "resource_changes": {changes}}}'"""
    program.write_text(f'#!/bin/sh\ncase $1 in plan) exit 2 ;; show) {show} ;; *) echo "Terraform v1.15.5" ;; esac\n')
    expected = pytest.raises(UnreadablePlan, match=r"^staging/network: Terraform reports changes \(exit code 2\), but")
    with expected, stack.planned(lock=False):
        pass


def test_a_plan_that_stopped_with_an_error_is_an_error(stack: Stack) -> None:
    program = stack.paths.root / "terraform-that-counts"
    failed = '{"address": {"to_display": "a.x"}, "status": "fail", "problems": [{"message": "no"}]}'
    show = f"""echo '{{"format_version": "1.2", "errored": true, "checks": [{failed}]}}'"""
    program.write_text(f'#!/bin/sh\ncase $1 in plan) exit 2 ;; show) {show} ;; *) echo "Terraform v1.15.5" ;; esac\n')
    expected = pytest.raises(UnreadablePlan, match=r"^staging/network: .* lacks changes \(a\.x: no\); fix the error")
    with expected, stack.planned(lock=False):
        pass
