"""Show a new plan as JSON without hashing its providers again, which takes half of the time."""

from __future__ import annotations

import re
from pathlib import Path

from terraform.errors import StackError
from terraform.paths import LOCK_FILE
from terraform.program import TerraformProgram

_HASHES = re.compile(r"^\s*hashes\s*=\s*\[[^\]]*\]\n", re.MULTILINE)


def plan_as_json(program: TerraformProgram, data_folder: Path, plan: Path) -> str:
    """Return what `terraform show -json` prints for a plan that was just made, in a folder of its own.

    To show a plan, Terraform starts the providers. Before that, it hashes hundreds of megabytes of provider files and
    compares the hashes with the lock file. `terraform plan` did this check a moment ago. So the plan is shown in a
    folder with the same providers and a lock file without hashes: Terraform then skips the check.
    """
    try:
        locks = Path(program.working_dir, LOCK_FILE).read_text()
        (plan.parent / LOCK_FILE).write_text(without_hashes(locks))
        (plan.parent / "providers").symlink_to((data_folder / "providers").resolve(strict=True))
        return program.in_folder(plan.parent, data_folder=plan.parent).show(plan)
    except (OSError, StackError):  # a stack without providers has no lock file; any other error is raised again below
        return program.show(plan)


def without_hashes(locks: str) -> str:
    """Return a lock file that keeps the provider versions and drops their hashes."""
    return _HASHES.sub("", locks)
