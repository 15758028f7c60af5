"""A plan that was made a moment ago, as JSON: without hashing its providers again, which is half of the work."""

from __future__ import annotations

import re
from pathlib import Path

from terraform.errors import StackError
from terraform.paths import LOCK_FILE
from terraform.program import TerraformProgram

_HASHES = re.compile(r"^\s*hashes\s*=\s*\[[^\]]*\]\n", re.MULTILINE)


def plan_as_json(program: TerraformProgram, own: Path, plan: Path) -> str:
    """What `terraform show -json` says of a plan beside which nothing else is; only for one that was just made.

    To show a plan Terraform starts the providers, and hashes each before: hundreds of megabytes, against the lock file
    of its folder. The plan was made with that very check. So it is shown in a folder that has the providers, and a
    lock file without hashes, which has Terraform take them as they are.
    """
    try:
        locks = Path(program.working_dir, LOCK_FILE).read_text()
        (plan.parent / LOCK_FILE).write_text(without_hashes(locks))
        (plan.parent / "providers").symlink_to((own / "providers").resolve(strict=True))
        return program.there(plan.parent, own=plan.parent).show(plan)
    except (OSError, StackError):  # a stack without providers has no lock file; what else it is, the usual way tells
        return program.show(plan)


def without_hashes(locks: str) -> str:
    """A lock file that says which versions, and no longer how they have to hash."""
    return _HASHES.sub("", locks)
