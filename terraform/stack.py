"""A stack of an environment: planned, applied, looked at."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inventories import Environment, StateSettings
from terraform import backend, drift, plan
from terraform.drift import DriftFinding
from terraform.errors import ChangeRefused, StackError
from terraform.paths import StackPaths, file_lock
from terraform.plan import Plan
from terraform.program import LOCK_TIMEOUT, StartProgram, TerraformProgram, here, process_environment
from terraform.show_plan import plan_as_json
from terraform.state import StateVersion, found_no_change, planned_state_version, state_version

FORMAT = 1


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A saved plan, and of what it is a plan."""

    plan: Plan
    program: TerraformProgram
    file: Path
    code: str
    serial: StateVersion

    def text(self) -> str:
        """The plan in Terraform's own words."""
        return self.program.show_text(self.file)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack in one environment, with the means to run Terraform on it."""

    place: StackPaths
    settings: Environment
    start: StartProgram
    on_line: Callable[[str], object] = lambda _line: None
    lock_timeout: str = LOCK_TIMEOUT

    @property
    def name(self) -> str:
        """As people call it: staging/network."""
        return self.place.name

    @property
    def state(self) -> StateSettings:
        """Where its state lives."""
        if self.settings.terraform.state is None:
            raise StackError(f"{self.name}: [terraform] names no state; add state = {{ bucket = … }}")
        return self.settings.terraform.state

    @contextmanager
    def ready(self) -> Iterator[TerraformProgram]:
        """Its Terraform, once its folder is set up; while inside, nobody of this machine sets it up otherwise."""
        program = self._program()
        fresh = self._made_of()
        if not self._is_set_up(fresh):
            with file_lock(self.place.cache / "init.lock", alone=True), self.place.held(alone=True):
                if not self._is_set_up(fresh):  # else somebody did it while we waited
                    self._set_up(program, fresh)
        with self.place.held(alone=False):
            yield program

    def _program(self) -> TerraformProgram:
        place = self.place
        surroundings = process_environment(place.own, place.cache, here())
        Path(surroundings["TF_PLUGIN_CACHE_DIR"]).mkdir(parents=True, exist_ok=True)
        program = self.settings.terraform.program
        return TerraformProgram(self.name, program, place.folder, surroundings, self.start, on_line=self.on_line)

    def _made_of(self) -> str:
        """What the set-up depends on, as a hash: the program, where the state is, the code."""
        path = Path(shutil.which(self.settings.terraform.program) or self.settings.terraform.program)
        program = (str(path), path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else (str(path),)
        state = [str(getattr(self.state, name)) for name in self.state.__slots__]
        where = (os.environ.get("TF_CLI_CONFIG_FILE", ""), str(self.place.root))
        return hashlib.sha256(repr((program, state, where, self.place.code())).encode()).hexdigest()

    def _is_set_up(self, fresh: str) -> bool:
        made_of = self.place.own / "made-of"
        return made_of.is_file() and made_of.read_text() == self._with_providers(fresh)

    def _with_providers(self, fresh: str) -> str:
        return f"{fresh} {self.place.providers()}"

    def _set_up(self, program: TerraformProgram, fresh: str) -> None:
        version = program.version()
        own = self.place.own
        own.mkdir(parents=True, exist_ok=True, mode=0o700)
        (own / "made-of").unlink(missing_ok=True)
        file = own / "backend.hcl"
        file.write_text(backend.backend_settings(self.state, self.settings.name, self.place.stack, version))
        program.init(file)
        (own / "made-of").write_text(self._with_providers(fresh))  # which init may just have written

    @contextmanager
    def planned(
        self, *, lock: bool, destroy: bool = False, meanwhile: Callable[[], Callable[[], object]] | None = None
    ) -> Iterator[SavedPlan]:
        """A plan in a file that is gone after the block: it holds secrets.

        `meanwhile` is called when the plan is begun, and what it returns once it is made, before it is read.
        """
        with self.ready() as program, tempfile.TemporaryDirectory(dir=self.place.own, prefix="plan-") as folder:
            file = Path(folder) / "plan"
            code = self.place.code()
            begun = meanwhile() if meanwhile else None
            changes = program.plan(
                file, self.place.var_files, lock=lock, destroy=destroy, lock_timeout=self.lock_timeout
            )
            if begun:
                begun()
            # To have a plan told costs half as much again as making it: of none at all there is nothing to tell.
            told = (
                plan.parse_plan(plan_as_json(program, self.place.own, file))
                if changes or not found_no_change(file)
                else Plan()
            )
            yield SavedPlan(told, program, file, code, planned_state_version(file))

    def apply(self, planned: SavedPlan, save: Callable[[str], object]) -> None:
        """Save the state, then do exactly what was planned; Refused if the code is no longer what was planned."""
        if self.place.code() != planned.code:
            raise ChangeRefused(f"{self.name}: its code has changed since the plan was shown; plan again")
        state = planned.program.stored_state().strip()
        if not state_version(state).is_of(planned.serial):
            raise ChangeRefused(f"{self.name}: the state has changed since the plan was shown; plan again")
        if state:
            save(state)
        if not planned.plan.is_empty:
            planned.program.apply(planned.file, self.lock_timeout)
        if planned.plan.makes_something or planned.plan.is_empty:
            # Else what follows from it elsewhere (a role has its policy now) would look like somebody's change.
            planned.program.settle(self.place.var_files, self.lock_timeout)

    def noted(self, planned: SavedPlan) -> Sequence[DriftFinding]:
        """What applying takes note of, besides what it changes."""
        return drift.recorded_by_apply(
            drift.drift_findings(planned.plan, self.settings.drift.ignore if self.settings.drift else ())
        )

    def outputs(self) -> dict[str, Any]:
        """Its outputs, as Terraform prints them: of each its value, its type and whether it is sensitive."""
        with self.ready() as program:
            return program.outputs()

    def unlock(self, lock: str) -> None:
        """Take the state's lock away from whoever holds it."""
        with self.ready() as program:
            program.unlock(lock)

    def keep(self, planned: SavedPlan, folder: Path) -> None:
        """Put a plan where another command finds it, with what it is a plan of."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = folder / f"{self.place.stack}.tfplan"
        shutil.copyfile(planned.file, kept)
        kept.chmod(0o600)
        told = {"format": FORMAT, "environment": self.settings.name, "stack": self.place.stack, "code": planned.code}
        kept.with_suffix(".json").write_text(json.dumps(told))

    @contextmanager
    def kept(self, folder: Path) -> Iterator[SavedPlan]:
        """A plan that was kept; Refused if it is of something else."""
        file = (folder / f"{self.place.stack}.tfplan").absolute()
        try:
            told = json.loads(file.with_suffix(".json").read_text())
            serial = planned_state_version(file)
        except (OSError, ValueError, zipfile.BadZipFile):
            raise StackError(
                f"{self.name}: {folder} has no whole plan of it; crew stacks plan --save makes one"
            ) from None
        if (told.get("environment"), told.get("stack")) != (self.settings.name, self.place.stack):
            raise ChangeRefused(
                f"{self.name}: the plan in {folder} is one of {told.get('environment')}/{told.get('stack')}"
            )
        with self.ready() as program:
            yield SavedPlan(plan.parse_plan(program.show(file)), program, file, told["code"], serial)
