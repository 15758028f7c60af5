"""Check the Terraform program, and the bucket and lock table that hold the stacks' state."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from inventories import Environment, StateSettings
from jobs.checks.check import Check, CheckResult, fault, ok


def checks(environment: Environment) -> Iterator[Check]:
    """Yield the checks of an environment that has stacks."""
    if environment.stacks:
        yield Check(f"program {environment.terraform.program}", partial(check_terraform, environment))
        for program in dict.fromkeys(check.command[0] for check in environment.terraform.checks):
            yield Check(f"program {program}", partial(check_plan_checker, environment.folder.parent, program))
        yield Check("stacks' state", partial(check_state, environment.name, environment.terraform.state))


def check_terraform(environment: Environment) -> CheckResult:
    """Check that the installed version supports the settings of the file, and report it."""
    from terraform import backend
    from terraform.program import supported_version

    name, state = environment.terraform.program, environment.terraform.state
    path = shutil.which(name)
    if path is None:
        return fault("not installed; needed for stacks", f"install {name}, or set terraform.program")
    result = subprocess.run([path, "version"], capture_output=True, text=True, check=False, timeout=20)
    version = supported_version(result.stdout, environment.name, path)
    if state:
        backend.backend_settings(state, environment.name, "", version)
    return ok(backend.version_text(version))


def check_plan_checker(root: Path, program: str) -> CheckResult:
    """Check that a program of [terraform] checks is installed; a relative path starts at the root of the repository."""
    path = shutil.which(str(root / program) if "/" in program else program)
    if path is None:
        return fault("not installed; needed for [terraform] checks", f"install {program}, or change terraform.checks")
    return ok(path)


def check_state(environment: str, state: StateSettings | None) -> CheckResult:
    """Check that the bucket and the lock table exist and are set up as bootstrap leaves them."""
    from terraform import backend, remote

    if state is None:
        return fault("[terraform] has no state", f"add {backend.STATE_EXAMPLE}")
    if missing := remote.missing_backend_parts(environment, state):
        return fault(" and ".join(missing), f"run crew stacks bootstrap {environment}")
    locks = f"table {state.lock_table}" if state.lock_table else "lock files in the bucket"
    return ok(f"bucket {state.bucket} exists with versioning; state locks: {locks}")
