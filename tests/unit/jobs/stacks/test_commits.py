"""The commit of an apply, and the one to go back to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.run.job import Outcome
from jobs.stacks import commits
from terraform.errors import StackError

A, B, C = ("a" * 40, "b" * 40, "c" * 40)


@pytest.mark.parametrize(
    ("applies", "expected"),
    [
        ([(B, Outcome.FAILED), (A, Outcome.DONE)], A),
        ([(B, Outcome.DONE), (A, Outcome.DONE)], A),
        ([(C, Outcome.FAILED), (B, Outcome.FAILED), (A, Outcome.DONE)], A),
        ([(C, Outcome.RUNNING), (B, Outcome.DONE), (A, Outcome.DONE)], B),
        ([("", Outcome.DONE), (A, Outcome.DONE)], A),
        ([(B, Outcome.FAILED), (B, Outcome.DONE), (A, Outcome.DONE)], A),
        ([(B, Outcome.DONE), ("", Outcome.DONE), ("--output=x", Outcome.DONE)], ""),
        ([(A, Outcome.DONE)], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_the_last_good_commit(applies: list[tuple[str, Outcome]], expected: str) -> None:
    assert commits.last_good_commit((outcome, commit) for commit, outcome in applies) == expected


def git(root: Path, *args: str) -> str:
    argv = ["git", "-C", str(root), "-c", "user.name=Ann", "-c", "user.email=ann@acme.example", *args]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_code_comes_from_a_commit_and_not_from_the_checkout(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    file = root / "terraform" / "main.tf"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    git(tmp_path, "init", "-q", str(root))
    with pytest.raises(StackError, match=r"differ from the last commit .terraform/.; commit or remove them"):
        commits.clean_commit(root)
    assert commits.figures_of_apply(root) == {}
    git(root, "add", ".")
    git(root, "commit", "-qm", "Add one")
    first = commits.clean_commit(root)
    assert commits.figures_of_apply(root) == {"commit": first}
    file.write_text("two")
    git(root, "commit", "-qam", "Change it")
    with commits.code_of_commit(root, first, tmp_path) as made:
        assert (made / "terraform" / "main.tf").read_text() == "one"
    assert not made.exists()
    assert commits.full_commit(root, first[:8]) == first
    assert commits.commit_title(root, first).endswith(" Add one")
    assert commits.is_ancestor(root, first)
    assert not commits.is_ancestor(root, A)
    for unknown in (A, "--all", "no-such-tag"):
        with pytest.raises(StackError, match="this checkout has no commit"):
            commits.full_commit(root, unknown)
