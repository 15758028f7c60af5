"""The commit of the repository: which one the code comes from, and the code of an earlier one."""

from __future__ import annotations

import subprocess
from pathlib import Path

SHORT = 12


def clean_commit(root: Path) -> str:
    """Return the commit of the checkout; StackError if terraform/ differs from it."""
    from terraform.errors import StackError

    if changed := git(root, "status", "--porcelain", "--", "terraform").splitlines():
        fact = f"{len(changed)} of its files under terraform/ differ from the last commit ({changed[0][3:]})"
        raise StackError(f"{root}: {fact}; commit or remove them")
    return git(root, "rev-parse", "HEAD").strip()


def git(root: Path, *args: str) -> str:
    """Return the output of a git command in the repository; StackError if it fails."""
    from terraform.errors import StackError

    argv = ["git", "-C", str(root), *args]
    try:
        ended = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        raise StackError(f"{root}: git is not installed on this machine; install it") from None
    if ended.returncode:
        reason = " ".join(ended.stderr.split()) or f"exit code {ended.returncode}"
        raise StackError(f"{root}: git {args[0]} failed: {reason}; run crew in a git checkout of the repository")
    return ended.stdout
