"""A stack of an environment: plan it, apply it, read its outputs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories import Environment, StateSettings
from terraform import drift, plan_checks
from terraform.access import with_access
from terraform.backend import STATE_EXAMPLE, backend_settings
from terraform.drift import DriftFinding
from terraform.errors import ChangeRefused, StackError, UnreadablePlan
from terraform.pass_through import PassedCommand, passed_command
from terraform.paths import StackPaths, file_lock
from terraform.plan import Plan, parse_plan
from terraform.plan_checks import PlanCheckResult
from terraform.program import LOCK_TIMEOUT, WITH_CHANGES, StartProgram, TerraformProgram, process_environment
from terraform.saved_files import require_closed, write_private
from terraform.show_plan import plan_as_json
from terraform.state import (
    StateVersion,
    found_no_change,
    planned_state_version,
    state_version,
    succeeding_state,
)

FORMAT = 1
BACKEND_FILE = "backend.hcl"
"""The file in the data directory with the settings of the backend."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A saved plan, with the code and the state version that it was made from."""

    plan: Plan
    program: TerraformProgram
    file: Path
    code: str
    state: StateVersion
    shown: str = ""
    """The plan as JSON; empty if it has no changes."""

    def text(self) -> str:
        """Return the plan as Terraform prints it."""
        return self.program.show_text(self.file)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack in one environment, and how to run Terraform on it."""

    paths: StackPaths
    settings: Environment
    start: StartProgram
    on_line: Callable[[str], object] = lambda _line: None
    lock_timeout: str = LOCK_TIMEOUT

    @property
    def name(self) -> str:
        """The name that users see, such as staging/network."""
        return self.paths.name

    @property
    def state(self) -> StateSettings:
        """The settings of the state: bucket, region, lock."""
        if self.settings.terraform.state is None:
            raise StackError(f"{self.name}: [terraform] has no state; add {STATE_EXAMPLE}")
        return self.settings.terraform.state

    @contextmanager
    def ready(self) -> Iterator[TerraformProgram]:
        """Return the stack's Terraform after `init`; while inside, no other process on this machine runs `init`."""
        program = self._program()
        fingerprint = self._fingerprint()
        if not self._is_initialised(fingerprint):
            # First the lock of this stack: while it waits for an apply, other stacks can run `init`.
            with self._locked(exclusive=True), file_lock(self.paths.cache / "init.lock", exclusive=True):
                if not self._is_initialised(fingerprint):  # another process may have done it while this one waited
                    self._init(program, fingerprint)
        with self._locked(exclusive=False):
            yield program

    def _locked(self, *, exclusive: bool) -> AbstractContextManager[None]:
        waits = "waiting until another crew command for this stack ends, because `terraform init` must run alone"
        return self.paths.locked(exclusive=exclusive, on_wait=lambda: self.on_line(waits))

    def _program(self) -> TerraformProgram:
        paths = self.paths
        inherited = with_access(self.name, self.settings.stacks.get(paths.stack), os.environ)
        environment = process_environment(paths.data_folder, paths.cache, inherited)
        Path(environment["TF_PLUGIN_CACHE_DIR"]).mkdir(parents=True, exist_ok=True)
        program = self.settings.terraform.program
        return TerraformProgram(self.name, program, paths.folder, environment, self.start, on_line=self.on_line)

    def _fingerprint(self) -> str:
        """Return a hash of all that `init` depends on: the program, the location of the state, the code."""
        path = Path(shutil.which(self.settings.terraform.program) or self.settings.terraform.program)
        program = (str(path), path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (str(path),)
        state = [str(getattr(self.state, name)) for name in self.state.__slots__]
        where = (os.environ.get("TF_CLI_CONFIG_FILE", ""), str(self.paths.root))
        return hashlib.sha256(repr((program, state, where, self.paths.code_hash())).encode()).hexdigest()

    def _is_initialised(self, fingerprint: str) -> bool:
        file = self.paths.data_folder / "made-of"
        return file.is_file() and file.read_text() == self._with_providers(fingerprint)

    def _with_providers(self, fingerprint: str) -> str:
        return f"{fingerprint} {self.paths.provider_hash()}"

    def _init(self, program: TerraformProgram, fingerprint: str) -> None:
        version = program.version()
        folder = self.paths.data_folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "made-of").unlink(missing_ok=True)
        file = folder / BACKEND_FILE
        file.write_text(backend_settings(self.state, self.settings.name, self.paths.stack, version))
        program.init(file)
        (folder / "made-of").write_text(self._with_providers(fingerprint))  # after init, which can write the lock file

    @contextmanager
    def planned(
        self, *, lock: bool, destroy: bool = False, meanwhile: Callable[[], Callable[[], object]] | None = None
    ) -> Iterator[SavedPlan]:
        """Make a plan in a file that is deleted after the block, since it contains secrets.

        `meanwhile` is called before the plan is made; the function that it returns is called before the plan is read.
        """
        paths = self.paths
        with self.ready() as program, tempfile.TemporaryDirectory(dir=paths.data_folder, prefix="plan-") as folder:
            file = Path(folder) / "plan"
            code = paths.code_hash()
            finish = meanwhile() if meanwhile else None
            changes = program.plan(file, paths.var_files, lock=lock, destroy=destroy, lock_timeout=self.lock_timeout)
            if finish:
                finish()
            # To show a plan takes half as long as to make it, so a plan without any change is not shown.
            is_empty = not changes and found_no_change(file)
            shown = "" if is_empty else plan_as_json(program, paths.data_folder, file)
            plan = Plan() if is_empty else parse_plan(shown)
            self._require_readable(plan, program, changes=changes)
            yield SavedPlan(plan, program, file, code, planned_state_version(file), shown)

    def _require_readable(self, plan: Plan, program: TerraformProgram, *, changes: bool) -> None:
        """Raise UnreadablePlan if the plan stopped with an error, or if it has changes but lists none."""
        if plan.is_errored:
            reasons = "; ".join(f"{check.address}: {check.message}" for check in plan.failed_checks)
            fact = "Terraform stopped with an error while it planned, so the plan lacks changes"
            why = f" ({reasons})" if reasons else ""
            raise UnreadablePlan(f"{self.name}: {fact}{why}; fix the error and plan again")
        if not changes or not plan.is_empty:
            return
        command = f"TF_DATA_DIR={self.paths.data_folder} {program.terraform_bin_path} plan"
        fact = f"Terraform reports changes (exit code {WITH_CHANGES}), but this groundcrew recognises none of them"
        raise UnreadablePlan(
            f"{self.name}: {fact}; see them in {self.paths.folder} with: {command}; then update groundcrew"
        )

    def run_checks(self, planned: SavedPlan) -> list[PlanCheckResult]:
        """Run [terraform] checks on a plan and return the results; a plan without changes needs none."""
        checks = self.settings.terraform.checks
        if planned.plan.is_empty or not checks:
            return []
        return plan_checks.run_plan_checks(self.paths, checks, planned.shown, self.start)

    def require_unchanged(self, planned: SavedPlan, commit: str) -> None:
        """Raise ChangeRefused with the reason if code or state are not those that a kept plan was made from."""
        if self.paths.code_hash() != planned.code:
            fact = f"the code differs from commit {commit}, from which the plan was made"
            raise ChangeRefused(f"{self.name}: {fact}; check out that commit, or plan again")
        present = state_version(self.current_state())
        if not present.matches(planned.state):
            fact = f"the state has serial number {present.number}, but the plan was made from {planned.state.number}"
            raise ChangeRefused(f"{self.name}: {fact}, so something changed it since; plan again")

    def apply(self, planned: SavedPlan, save: Callable[[str], object]) -> None:
        """Save the state, then apply the plan; raise ChangeRefused if code or state changed after the plan."""
        if self.paths.code_hash() != planned.code:
            raise ChangeRefused(f"{self.name}: the code changed after the plan was shown; plan again")
        state = planned.program.stored_state().strip()
        if not state_version(state).matches(planned.state):
            raise ChangeRefused(f"{self.name}: the state changed after the plan was shown; plan again")
        if state:
            save(state)
        if not planned.plan.is_empty:
            planned.program.apply(planned.file, self.lock_timeout)
        if planned.plan.makes_something or planned.plan.is_empty:
            # An apply has effects on other resources (a role now has its policy). Without a refresh of the state,
            # these effects would be reported as changes from outside.
            planned.program.refresh_state(self.paths.var_files, self.lock_timeout)

    def current_state(self) -> str:
        """Return the stored state as JSON; empty if there is none."""
        with self.ready() as program:
            return program.stored_state().strip()

    def restore_state(self, saved: str, shown: StateVersion, save: Callable[[str], object]) -> None:
        """Save the stored state, then replace it by a saved one.

        Raise ChangeRefused if it is no longer the version that was shown, or belongs to another lineage.
        """
        with self.ready() as program, tempfile.TemporaryDirectory(dir=self.paths.data_folder, prefix="state-") as made:
            present = program.stored_state().strip()
            if state_version(present) != shown:
                raise ChangeRefused(f"{self.name}: the state changed after it was shown; run the command again")
            pushed = succeeding_state(self.name, saved, present)
            if present:
                save(present)
            file = Path(made) / "state.json"
            file.touch(mode=0o600)
            file.write_text(pushed)
            program.push_state(file, self.lock_timeout)

    def passed_command(self, args: Sequence[str]) -> PassedCommand:
        """Return a user's command for Terraform with this stack's options; ChangeRefused if it is not allowed."""
        paths = self.paths
        file = paths.data_folder / BACKEND_FILE
        return passed_command(self.name, args, paths.var_files, file, self.lock_timeout)

    def pass_through(
        self,
        command: PassedCommand,
        save: Callable[[str], object],
        on_out: Callable[[bytes], object],
        on_err: Callable[[bytes], object],
    ) -> int:
        """Run a user's command and return its exit code; save the state first if the command can change it."""
        with self.ready() as program:
            if command.changes_state and (state := program.stored_state().strip()):
                save(state)
            return program.pass_through(command.argv, on_out, on_err)

    def recorded_by_apply(self, planned: SavedPlan) -> Sequence[DriftFinding]:
        """Return the outside changes that an apply of this plan records in the state."""
        ignore = self.settings.drift.ignore if self.settings.drift else ()
        return drift.recorded_by_apply(drift.drift_findings(planned.plan, ignore))

    def outputs(self) -> dict[str, Any]:
        """Return the outputs as Terraform prints them: value, type and whether they are sensitive."""
        with self.ready() as program:
            return program.outputs()

    def unlock(self, lock: str) -> None:
        """Remove the lock of the state, whatever process holds it."""
        with self.ready() as program:
            program.unlock(lock)

    def save_plan(self, planned: SavedPlan, folder: Path) -> None:
        """Copy a plan to a directory, for a later `apply --saved`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        require_closed(folder)
        file = folder / f"{self.paths.stack}.tfplan"
        write_private(file, planned.file.read_bytes())
        about = {"format": FORMAT, "environment": self.settings.name, "stack": self.paths.stack, "code": planned.code}
        write_private(file.with_suffix(".json"), json.dumps(about).encode())

    @contextmanager
    def saved_plan(self, folder: Path) -> Iterator[SavedPlan]:
        """Open a plan that `save_plan` wrote; raise ChangeRefused if it belongs to another stack."""
        file = (folder / f"{self.paths.stack}.tfplan").absolute()
        try:
            for path in (folder, file, file.with_suffix(".json")):
                require_closed(path)
            about = json.loads(file.with_suffix(".json").read_text())
            state = planned_state_version(file)
        except (OSError, ValueError, zipfile.BadZipFile):
            command = f"crew stacks plan {self.settings.name} {self.paths.stack} --save {folder}"
            fact = f"{folder} has no complete plan of this stack"
            raise StackError(f"{self.name}: {fact}; create one with: {command}") from None
        owner = (about.get("environment"), about.get("stack"))
        if owner != (self.settings.name, self.paths.stack):
            command = f"crew stacks plan {self.settings.name} {self.paths.stack} --save DIR"
            raise ChangeRefused(
                f"{self.name}: the plan in {folder} belongs to {owner[0]}/{owner[1]}; create one with: {command}"
            )
        with self.ready() as program:
            shown = program.show(file)
            plan = parse_plan(shown)
            self._require_readable(plan, program, changes=False)
            yield SavedPlan(plan, program, file, about["code"], state, shown)
