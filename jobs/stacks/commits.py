"""The commit of the repository: which one the code comes from, and the code of an earlier one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.run.job import Outcome

SHORT = 12
FIGURE = "commit"
"""The name of the commit in the record of an apply."""
ROLLBACK = "rollback"
PastApply = tuple[str, "Outcome", str]
"""The command (apply or rollback), its outcome, and the commit of its code; "" if that is not known."""
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def figures_of_apply(root: Path) -> dict[str, str]:
    """Return what the record of an apply says about its code: the commit, if the code is exactly that of one."""
    from terraform.errors import StackError

    with suppress(StackError):
        return {FIGURE: clean_commit(root)}
    return {}


def last_good_commit(applies: Iterable[PastApply]) -> str:
    """Return the commit of the last apply that went well and that nobody wants to leave; "" if there is none.

    The applies are the newest first. A user wants to leave the code of the newest one, whether it failed or not, and
    wanted to leave the code before each rollback. A rollback that failed can be repeated.
    """
    from jobs.run.job import Outcome

    left, target = set[str](), ""
    for number, (job, outcome, commit) in enumerate(applies):
        if target and commit != target:  # this apply came before a rollback to `target`
            left.add(commit)
            target = ""
        if number == 0 and (job != ROLLBACK or outcome is Outcome.DONE):
            left.add(commit)
        elif outcome is Outcome.DONE and _COMMIT.fullmatch(commit) and commit not in left:
            return commit
        if job == ROLLBACK:
            target = commit
    return ""


def full_commit(root: Path, name: str) -> str:
    """Return the full hash of a commit given as a hash, a tag or a branch; StackError if this checkout lacks it."""
    from terraform.errors import StackError

    try:
        return git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
    except StackError:
        remedy = "fetch it first: git fetch --unshallow, or git fetch --all"
        raise StackError(f"{root}: this checkout has no commit {name}; {remedy}") from None


def is_ancestor(root: Path, commit: str) -> bool:
    """Return whether the checkout's commit contains another commit."""
    return commit in git(root, "rev-list", "HEAD").split()


def commit_title(root: Path, commit: str) -> str:
    """Return the date and the subject of a commit."""
    return git(root, "show", "--no-patch", "--format=%cs %s", commit).strip()


@contextmanager
def code_of_commit(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """Write all files of a commit to a temporary directory in a folder, without links that lead out of it."""
    with TemporaryDirectory(dir=folder, prefix=f"{commit[:SHORT]}-") as made:
        files, own_index = Path(made, "files"), {"GIT_INDEX_FILE": str(Path(made, "index"))}
        git_output(root, "read-tree", commit, **own_index)
        git_output(root, "checkout-index", "--all", f"--prefix={files}/", **own_index)
        code = files / git(root, "rev-parse", "--show-prefix").strip()
        _remove_links_outwards(code)
        yield code


def _remove_links_outwards(code: Path) -> None:
    """Remove the links that lead out of a commit's files; StackError if one is in the code of stacks."""
    from terraform.errors import StackError

    inside = os.path.realpath(code)
    for link in [path for path in code.rglob("*") if path.is_symlink()]:
        if Path(os.path.realpath(link)).is_relative_to(inside):
            continue
        if link.is_relative_to(code / "terraform"):
            fact = f"in this commit, {link.relative_to(code)} is a link to a file outside of the repository"
            raise StackError(f"{fact}, whose content of then is not known; name a commit without it (--to)")
        link.unlink()


def clean_commit(root: Path) -> str:
    """Return the commit of the checkout; StackError if terraform/ differs from it."""
    from terraform.errors import StackError

    if changed := git(root, "status", "--porcelain", "--", "terraform").splitlines():
        fact = f"{len(changed)} of its files under terraform/ differ from the last commit ({changed[0][3:]})"
        raise StackError(f"{root}: {fact}; commit or remove them")
    return git(root, "rev-parse", "HEAD").strip()


def git(root: Path, *args: str) -> str:
    """Return the text that a git command in the repository prints; StackError if it fails."""
    return git_output(root, *args).decode(errors="replace")


def git_output(root: Path, *args: str, **variables: str) -> bytes:
    """Return the output of a git command in the repository; StackError if it fails."""
    from terraform.errors import StackError

    argv = ["git", "-C", str(root), *args]
    try:
        ended = subprocess.run(
            argv, env={**os.environ, **variables}, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        raise StackError(f"{root}: git is not installed on this machine; install it") from None
    if ended.returncode:
        reason = " ".join(ended.stderr.decode(errors="replace").split()) or f"exit code {ended.returncode}"
        raise StackError(f"{root}: git {args[0]} failed: {reason}; run crew in a git checkout of the repository")
    return ended.stdout
