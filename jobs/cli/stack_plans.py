"""Print the plan of a stack with the results of its checks, and apply it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.cli import output
from jobs.cli.stacks_command import Confirmation, StacksCommand

if TYPE_CHECKING:
    from terraform.plan_checks import PlanCheckResult
    from terraform.stack import SavedPlan, Stack

NOTHING_TO_DO = "nothing to do"
PLAN_STYLES = {
    "destroy": output.BAD, "replace": output.BAD, "forget": output.WARN, "create": output.GOOD,
    "check failed": output.WARN, "later": output.WARN, "incomplete": output.WARN,
}  # fmt: skip


def print_plan(command: StacksCommand, stack: Stack, planned: SavedPlan, *, full: bool) -> str:
    """Check a plan, print it with what the checks said, and return a sentence about it."""
    from terraform.summary import planned_counts

    results = stack.run_checks(planned)
    _print(command, stack, planned, results, full=full)
    counts = planned_counts(planned.plan, len(stack.recorded_by_apply(planned)))
    failed = [result for result in results if result.code]
    if not failed:
        return counts
    command.refused.add(stack.paths.stack)
    return f"{counts}; not passed: {'; '.join(result.command for result in failed)}"


def apply_plan(
    command: StacksCommand,
    stack: Stack,
    planned: SavedPlan,
    confirmation: Confirmation,
    *,
    full: bool,
    commit: str = "",
) -> str:
    """Print a plan, ask for confirmation, apply it, and return what was done.

    The record names the commit of the code: `commit`, or the checkout's if the code is exactly that.
    """
    from jobs.run import recorded
    from jobs.stacks.commits import FIGURE, figures_of_apply
    from jobs.stacks.saved_states import save_state
    from terraform import guard, plan_checks, summary

    name, recorded_changes = stack.paths.stack, stack.recorded_by_apply(planned)
    results = stack.run_checks(planned)
    with command.terminal:
        command.run.check()
        _print(command, stack, planned, results, full=full)
        guard.refuse_destruction(stack.name, planned.plan, command.environment.terraform.keep)
        plan_checks.refuse_failed_checks(stack.name, results)
        if planned.plan.is_empty and not recorded_changes:
            return NOTHING_TO_DO
        confirmation.ask(command, f"apply this plan to {stack.name}", f"{stack.name}: not applied")
    counts = summary.planned_counts(planned.plan, len(recorded_changes))
    figures = {FIGURE: commit} if commit else figures_of_apply(stack.paths.root)
    with recorded(command.run, confirmation.verb, name, counts, figures=figures):
        stack.apply(planned, lambda state: save_state(command.run, name, state, before=confirmation.verb))
    if planned.plan.is_empty:
        return f"{len(recorded_changes)} changed outside, recorded in the state"
    return summary.applied_counts(planned.plan)


def _print(
    command: StacksCommand, stack: Stack, planned: SavedPlan, results: Sequence[PlanCheckResult], *, full: bool
) -> None:
    """Print a plan, or keep it for the JSON object that is printed at the end."""
    from terraform import summary

    recorded = stack.recorded_by_apply(planned)
    lines = [*summary.plan_lines(planned.plan), *summary.recorded_lines(recorded)]
    if command.as_json:
        changes = [{"action": line.action, "address": line.address, "edits": line.edits} for line in lines]
        checks = [
            {"command": result.command, "exit_code": result.code, "output": output.without_colours(result.output)}
            for result in results
        ]
        command.plans_as_json[stack.paths.stack] = {"changes": changes, "checks": checks}
        return
    text = planned.text() if full else ""
    style = output.BAD if any(line.is_dangerous for line in lines) else ""
    with command.terminal:
        output.say(f"{stack.name}: {summary.planned_counts(planned.plan, len(recorded))}", style)
        for line in lines:
            mark = summary.MARKS[line.action]
            output.say(f"  {mark:>6} {line.address} {line.edits}".rstrip(), PLAN_STYLES.get(line.action, ""))
        for result in results:
            _print_check(result)
        if text:
            output.say_lines(text)


def _print_check(result: PlanCheckResult) -> None:
    """Print what a check said, indented, so that no line of it looks like one of a plan or ends a block of Markdown."""
    output.say(f"  check {result.command}: {result.verdict}", output.BAD if result.code else "")
    for line in output.without_colours(result.output).splitlines():
        output.say(f"    {line}".rstrip(), output.QUIET)
