"""Keep the plans of `crew stacks plan`, and open them for `crew stacks apply`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.cli.stacks_command import StacksCommand

if TYPE_CHECKING:
    from jobs.stacks.kept_plans import KeptPlan, KeptPlans
    from terraform.order import StackOutcome
    from terraform.stack import SavedPlan, Stack


@dataclass
class PlanKeeper:
    """Keeps the plans of one command, under one ID."""

    command: StacksCommand
    commit: str
    stacks: dict[str, KeptPlan] = field(default_factory=dict)

    def keep(self, stack: Stack, planned: SavedPlan) -> None:
        """Keep the plan of a stack; one without changes is only noted."""
        from jobs.stacks.kept_plans import KeptPlan, keep_plan

        name, serial = stack.paths.stack, planned.state.number
        if planned.plan.is_empty and not stack.recorded_by_apply(planned):
            self.stacks[name] = KeptPlan(serial)
            return
        with tempfile.TemporaryDirectory(dir=stack.paths.data_folder, prefix="keep-") as folder:
            stack.save_plan(planned, Path(folder))
            self.stacks[name] = keep_plan(self.command.run, name, Path(folder), self.commit, serial)

    def finish(self, outcomes: Sequence[StackOutcome[object]]) -> str:
        """Note the stacks that wait, and return the ID of all plans."""
        from jobs.stacks.kept_plans import KeptPlan, keep_plans

        self.stacks |= {each.stack: KeptPlan(waits_for=each.waits_for) for each in outcomes if each.waits_for}
        return keep_plans(self.command.run, self.commit, self.stacks)


@contextmanager
def kept_plan(command: StacksCommand, stack: Stack, kept: KeptPlans) -> Iterator[SavedPlan | None]:
    """Open the kept plan of a stack, or plan one that had to wait; None if there was nothing to do."""
    from jobs.stacks.kept_plans import unpack_plan
    from terraform import guard
    from terraform.errors import ChangeRefused

    name = stack.paths.stack
    plan = kept.stacks.get(name)
    if plan is None:
        raise ChangeRefused(f"{stack.name}: the kept plans {kept.id} have none of this stack; plan it and keep it too")
    if plan.waits_for:
        with stack.planned(lock=True) as planned:
            guard.refuse_unread_destruction(stack.name, planned.plan, plan.waits_for)
            yield planned
    elif not plan.name:
        yield None
    else:
        stack.paths.data_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=stack.paths.data_folder, prefix="kept-") as folder:
            unpack_plan(command.run, name, plan, Path(folder))
            with stack.saved_plan(Path(folder)) as planned:
                stack.require_unchanged(planned, kept.commit)
                yield planned
