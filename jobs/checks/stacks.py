"""Is there a Terraform that will do, and the bucket and the table that the stacks' state lives in?"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial

from inventories import Environment, StateSettings
from jobs.checks.check import Check, CheckResult, fault, ok


def checks(environment: Environment) -> Iterator[Check]:
    """Only for who has stacks."""
    if environment.stacks:
        yield Check(f"program {environment.terraform.program}", partial(check_terraform, environment))
        yield Check("stacks' state", partial(check_state, environment.name, environment.terraform.state))


def check_terraform(environment: Environment) -> CheckResult:
    """Its version, and whether that can do what the file asks of it."""
    from terraform import backend
    from terraform.program import supported_version

    name, state = environment.terraform.program, environment.terraform.state
    path = shutil.which(name)
    if path is None:
        return fault("is not on this machine, needed for stacks", f"install {name}, or name another in [terraform]")
    said = subprocess.run([path, "version"], capture_output=True, text=True, check=False, timeout=20)
    version = supported_version(said.stdout, environment.name, path)
    if state:
        backend.backend_settings(state, environment.name, "", version)
    return ok(backend.version_text(version))


def check_state(environment: str, state: StateSettings | None) -> CheckResult:
    """Whether bootstrap has been here."""
    from terraform import remote

    if state is None:
        return fault("[terraform] names no state", 'add state = { bucket = "…", region = "…", lock_table = "…" }')
    if lacks := remote.missing_backend_parts(environment, state):
        return fault(" and ".join(lacks), f"crew stacks bootstrap {environment}")
    locks = f"table {state.lock_table}" if state.lock_table else "files beside it"
    return ok(f"bucket {state.bucket} is there and keeps versions; locks are in {locks}")
