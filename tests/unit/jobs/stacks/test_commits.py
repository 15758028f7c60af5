"""The commit of an apply, and the one to go back to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.run.job import Outcome
from jobs.stacks import commits
from jobs.stacks.commits import ROLLBACK, PastApply
from terraform.errors import StackError

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
APPLY, DONE, FAILED = "apply", Outcome.DONE, Outcome.FAILED


@pytest.mark.parametrize(
    ("applies", "expected"),
    [
        ([(APPLY, FAILED, B), (APPLY, DONE, A)], A),
        ([(APPLY, DONE, B), (APPLY, DONE, A)], A),
        ([(APPLY, FAILED, C), (APPLY, FAILED, B), (APPLY, DONE, A)], A),
        ([(APPLY, Outcome.RUNNING, C), (APPLY, DONE, B), (APPLY, DONE, A)], B),
        ([(APPLY, DONE, ""), (APPLY, DONE, A)], A),
        ([(APPLY, FAILED, B), (APPLY, DONE, B), (APPLY, DONE, A)], A),
        ([(APPLY, DONE, B), (APPLY, DONE, ""), (APPLY, DONE, "--output=x")], ""),
        ([(APPLY, DONE, A)], ""),
        ([], ""),
        ([(ROLLBACK, DONE, A), (APPLY, DONE, B), (APPLY, DONE, A)], ""),
        ([(ROLLBACK, DONE, B), (APPLY, DONE, C), (APPLY, DONE, B), (APPLY, DONE, A)], A),
        ([(ROLLBACK, FAILED, A), (APPLY, DONE, B), (APPLY, DONE, A)], A),
        ([(ROLLBACK, FAILED, A), (ROLLBACK, FAILED, A), (APPLY, DONE, B), (APPLY, DONE, A)], A),
        ([(APPLY, FAILED, C), (ROLLBACK, DONE, A), (APPLY, DONE, B), (APPLY, DONE, A)], A),
    ],
)
def test_the_last_good_commit(applies: list[PastApply], expected: str) -> None:
    assert commits.last_good_commit(applies) == expected


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


def test_the_repository_can_be_a_folder_of_a_larger_one(tmp_path: Path) -> None:
    root = tmp_path / "ours" / "servers"
    (root / "terraform").mkdir(parents=True)
    git(tmp_path / "ours", "init", "--quiet")
    (root / "terraform" / "main.tf").write_text("one")
    (root.parent / "README").touch()
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Add one")
    with commits.code_of_commit(root, "HEAD", tmp_path) as made:
        assert [path.name for path in made.iterdir()] == ["terraform"]
    assert git(root, "status", "--porcelain") == "", "its index did not change"


def test_a_link_out_of_the_repository_is_left_out_and_refused_in_the_code(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    (root / "terraform").mkdir(parents=True)
    git(root, "init", "--quiet")
    (root / "terraform" / "main.tf").write_text("one")
    (root / "outside").symlink_to("/etc")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Add a link")
    with commits.code_of_commit(root, "HEAD", tmp_path) as made:
        assert [path.name for path in made.iterdir()] == ["terraform"]
    (root / "terraform" / "all.tfvars").symlink_to("/etc/hosts")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "Add a link to the code")
    refused = pytest.raises(StackError, match=r"terraform/all.tfvars is a link to a file outside of the repository")
    with refused, commits.code_of_commit(root, "HEAD", tmp_path):
        pass
