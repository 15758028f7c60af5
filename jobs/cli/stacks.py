"""`crew stacks`: plan and apply an environment's Terraform stacks."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import AsJson, EnvironmentName, NotConfigured, WrongUsage, YesTo, examples, new_app

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.context import RunContext
    from terraform.order import StackOutcome
    from terraform.stack import SavedPlan, Stack

app = new_app(
    group_help="Plan and apply an environment's Terraform stacks.",
    group_examples=[
        "crew stacks bootstrap staging",
        "crew stacks plan staging",
        "crew stacks apply staging network",
    ],
)

StackNames = Annotated[list[str] | None, typer.Argument(metavar="STACK...", help="Stacks (default: all).")]
Full = Annotated[bool, typer.Option("--full", help="Also print Terraform's own text of the plan.")]
LockTimeout = Annotated[
    str, typer.Option(metavar="DURATION", help="How long to wait for a lock that is held, such as 30s or 5m.")
]
RISK = (
    "Terraform is finishing the current changes and then saves the state. If you kill it now, the state will lack new "
    "resources and the lock will stay. Wait for it"
)
_RESOURCE_PROGRESS = re.compile(
    r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+(?: \(deposed object \w+\))?: '
    r"(?:(?:Creat|Modify|Destroy|Import)ing\.\.\.|Still (?:creat|modify|destroy|import)ing\.\.\.|"
    r"(?:Creation|Modifications|Destruction|Import) complete)"
)
"""A line of Terraform's output that begins with a resource's address and what Terraform does to it."""
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do not ask; required without a terminal. A protected environment needs --yes-to instead."
    ),
]
PLAN_STYLES = {
    "destroy": output.BAD, "replace": output.BAD, "forget": output.WARN, "create": output.GOOD,
    "check failed": output.WARN, "later": output.WARN, "incomplete": output.WARN,
}  # fmt: skip
OUTCOME_STYLES = {"done": output.GOOD, "failed": output.BAD, "skipped": output.WARN}


@dataclass
class StacksCommand:
    """The environment, the stacks and the options of one `crew stacks` command."""

    environment: Environment
    run: RunContext
    names: tuple[str, ...]
    lock_timeout: str
    as_json: bool
    terminal: threading.RLock = field(default_factory=threading.RLock)
    """Held while a stack prints its plan and asks; stacks run in parallel."""
    plans_as_json: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stack(self, name: str) -> Stack:
        """Return a stack that prints Terraform's progress to stderr."""
        from jobs.stacks.execution import graceful_start, open_stack

        stack = open_stack(self.environment, name, graceful_start(self.run), lambda line: print_progress(name, line))
        return replace(stack, lock_timeout=self.lock_timeout)

    def run_all(
        self,
        work: Callable[[str], object],
        *,
        use_order: bool = True,
        backwards: bool = False,
        plans_printed: bool = False,
    ) -> int:
        """Run `work` for each stack, print the outcomes, and return the exit code.

        With `plans_printed`, a single stack that succeeded gets no line of its own.
        """
        from terraform.order import dependencies, run_in_order

        after = {name: stack.after for name, stack in self.environment.stacks.items()} if use_order else {}
        outcomes = run_in_order(dependencies(self.names, after, backwards=backwards), work)
        return self._print_outcomes(outcomes, plans_printed=plans_printed)

    def _print_outcomes(self, outcomes: Sequence[StackOutcome[object]], *, plans_printed: bool) -> int:
        from inventories import redact

        rows = [(each.stack, *_outcome(self.environment.name, each)) for each in outcomes]
        all_done = all(outcome == "done" for _, outcome, _ in rows)
        if self.as_json:
            stacks = [
                {"stack": name, "outcome": outcome, "sentence": redact(sentence), **self.plans_as_json.get(name, {})}
                for name, outcome, sentence in rows
            ]
            output.print_json({"environment": self.environment.name, "stacks": stacks})
        elif not plans_printed or len(rows) > 1 or not all_done:
            output.say("")
            output.table([(output.Cell(outcome, OUTCOME_STYLES[outcome]), name, text) for name, outcome, text in rows])
        return ExitCode.DONE if all_done else ExitCode.FAILED


def _outcome(environment: str, outcome: StackOutcome[object]) -> tuple[str, str]:
    """Return the outcome of a stack and its sentence; for a bug, it is a message that asks for a bug report."""
    from jobs.cli.exit_codes import apology, explained

    if outcome.skipped_for:
        return "skipped", f"because {outcome.skipped_for} failed"
    if outcome.error is None:
        return "done", str(outcome.value)
    if explained(outcome.error) is None:
        return "failed", apology(outcome.error)
    return "failed", str(outcome.error).removeprefix(f"{environment}/{outcome.stack}: ")


@contextmanager
def open_stacks_command(
    ctx: typer.Context, name: str, stacks: Sequence[str] | None, *, lock_timeout: str = "60s", as_json: bool = False
) -> Iterator[StacksCommand]:
    """Open an environment and the named stacks, or all of its stacks."""
    from jobs.run import unrecorded_run

    environment = arguments.open_environment(ctx, name)
    unknown = [stack for stack in stacks or () if stack not in environment.stacks]
    if unknown:
        from jobs.stacks.drift import list_stacks

        raise WrongUsage(f"{name}: no stack {unknown[0]}; {list_stacks(environment)}")
    if not environment.stacks:
        raise NotConfigured(
            f"{name}: there are no stacks. "
            f"Add [stacks.NAME] to inventories/{name}.toml, where NAME is a directory in terraform/stacks."
        )
    if environment.store is None:
        raise NotConfigured(
            f"{name}: there is no [store], where the state is saved before each apply. "
            f"Add [store] to inventories/{name}.toml."
        )
    # The run has no lock. It starts Terraform and ends it on a signal.
    store = arguments.unmarked_store(environment)
    with unrecorded_run(environment, store, "stacks", name, warning=RISK) as run:
        yield StacksCommand(environment, run, tuple(stacks or environment.stacks), lock_timeout, as_json)


def print_progress(stack: str, line: str) -> None:
    """Print a line of Terraform's output to stderr if it reports progress on a resource."""
    if _RESOURCE_PROGRESS.match(line):
        output.say_to_stderr(f"{stack}: {line}")


class StateAccess(StrEnum):
    """What a role can do with the states of an environment."""

    READING = "reading"
    WRITING = "writing"


@app.command(
    "bootstrap",
    epilog=examples("crew stacks bootstrap staging", "crew stacks bootstrap staging --policy writing > policy.json"),
)
def bootstrap_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    policy: Annotated[
        StateAccess | None,
        typer.Option(help="Only print the IAM policy that gives a role access to this environment's states."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Create the state bucket and the lock table.

    Keeps those that exist, so it is safe to repeat. The bucket gets versioning and encryption. Nobody can make it
    public. It refuses requests without TLS and keeps old states for a year.
    """
    from terraform import backend, remote

    environment = arguments.open_environment(ctx, environment_name)
    if environment.terraform.state is None:
        raise NotConfigured(f"{environment.name}: [terraform] has no state. Add {backend.STATE_EXAMPLE}.")
    if policy:
        state, writing = environment.terraform.state, policy is StateAccess.WRITING
        output.say_lines(json.dumps(backend.state_policy(state, environment.name, writing=writing), indent=2))
        return ExitCode.DONE
    done = remote.create_backend(environment.name, environment.terraform.state)
    if as_json:
        output.print_json({"environment": environment.name, "done": done})
    else:
        for sentence in done:
            output.say(f"{environment.name}: {sentence}")
    return ExitCode.DONE


@app.command("plan", epilog=examples("crew stacks plan staging", "crew stacks plan staging network --full"))
def plan_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    full: Full = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the plans in DIR, for apply --saved. Plans contain secrets."),
    ] = None,
    lock_timeout: LockTimeout = "60s",
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Do not lock the state; for credentials that can only read.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show what apply would change.

    Prints counts, then one line for each resource, destructive changes first.
    """
    from terraform.summary import planned_counts

    if save and no_lock:
        raise WrongUsage("--save needs the lock of the state; omit --no-lock or --save")
    with open_stacks_command(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as command:
        if save:
            with output.writing_to(save):
                save.mkdir(parents=True, exist_ok=True, mode=0o700)

        def plan_stack(name: str) -> str:
            stack = command.stack(name)
            with stack.planned(lock=not no_lock) as planned:
                if save:
                    with output.writing_to(save):
                        stack.save_plan(planned, save)
                _print_plan(command, stack, planned, full=full)
                return planned_counts(planned.plan, len(stack.recorded_by_apply(planned)))

        return command.run_all(plan_stack, use_order=False, plans_printed=True)


@app.command(
    "apply",
    epilog=examples(
        "crew stacks apply staging",
        "crew stacks apply staging network --yes",
        "crew stacks apply production --yes-to production",
        "crew stacks apply production --saved plans --yes-to production",
    ),
)
def apply_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    yes: Yes = False,
    yes_to: YesTo = None,
    saved: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Apply the plans that plan --save wrote to DIR.")
    ] = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Show the plan, ask to confirm, and apply exactly this plan.

    Saves the state to the store before each apply. Never destroys a resource whose type is in [terraform] keep or that
    is tagged keep. Stacks run in the order of `after`; stacks after a failed one are skipped.
    """
    from jobs.store import require_mark

    with open_stacks_command(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as command:
        confirmation = Confirmation("apply", yes=yes, yes_to=yes_to)
        confirmation.require_possible(command)
        require_mark(command.run.store, environment_name)  # where the states are saved

        def apply_stack(name: str) -> str:
            stack = command.stack(name)
            with stack.saved_plan(saved) if saved else stack.planned(lock=True) as planned:
                return _apply(command, stack, planned, confirmation, full=full)

        return command.run_all(apply_stack)


@app.command(
    "destroy",
    epilog=examples("crew stacks destroy staging cluster", "crew stacks destroy production --yes-to production"),
)
def destroy_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    yes: Yes = False,
    yes_to: YesTo = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Show the plan, ask to confirm, and destroy the stacks.

    Stacks run in the reverse order of `after`. Refuses if the plan would destroy a resource whose type is in
    [terraform] keep or that is tagged keep.
    """
    from jobs.store import require_mark

    with open_stacks_command(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as command:
        confirmation = Confirmation("destroy", yes=yes, yes_to=yes_to)
        confirmation.require_possible(command)
        require_mark(command.run.store, environment_name)  # where the states are saved

        def destroy_stack(name: str) -> str:
            stack = command.stack(name)
            with stack.planned(lock=True, destroy=True) as planned:
                return _apply(command, stack, planned, confirmation, full=full)

        return command.run_all(destroy_stack, backwards=True)


@app.command("output", epilog=examples("crew stacks output staging", "crew stacks output staging cluster --json"))
def output_command(
    ctx: typer.Context, environment_name: EnvironmentName, stack_names: StackNames = None, as_json: AsJson = False
) -> int:
    """Print the outputs of stacks, without sensitive values."""
    with open_stacks_command(ctx, environment_name, stack_names, as_json=as_json) as command:
        outputs = {name: command.stack(name).outputs() for name in command.names}
    if as_json:
        stacks = {
            stack: {name: each["value"] for name, each in sorted(values.items()) if not each.get("sensitive")}
            for stack, values in outputs.items()
        }
        output.print_json({"environment": environment_name, "stacks": stacks})
        return ExitCode.DONE
    from json import dumps

    for stack, values in outputs.items():
        if not values:
            output.say(f"{stack}: no outputs; its code has none, or it was never applied", output.QUIET)
        for name, each in sorted(values.items()):
            value = each["value"] if isinstance(each["value"], str) else dumps(each["value"], ensure_ascii=False)
            output.say(f"{stack}.{name} = {'(sensitive)' if each.get('sensitive') else value}")
    return ExitCode.DONE


@app.command(
    "unlock",
    epilog=examples("crew stacks unlock staging network", "crew stacks unlock staging network --id 6f1c…"),
)
def unlock_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_name: Annotated[str, typer.Argument(metavar="STACK", help="Stack, as named in the environment file.")],
    lock_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Lock ID, as printed in the lock error.")
    ] = None,
    yes_to: YesTo = None,
    as_json: AsJson = False,
) -> int:
    """Show who holds the lock of a stack, or remove it.

    Removes the lock only with --id. Use it only if the process that holds the lock has ended.
    """
    from jobs.run import recorded
    from terraform import remote

    with open_stacks_command(ctx, environment_name, [stack_name], as_json=as_json) as command:
        stack = command.stack(stack_name)
        held = remote.current_lock(stack.state, environment_name, stack_name)
        sentence = f"{stack.name} is locked by {held.sentence}" if held else f"{stack.name} is not locked"
        if held and lock_id:
            if lock_id != held.id:
                raise WrongUsage(f"{sentence}, but with lock ID {held.id}, not {lock_id}")
            _confirm_protected(command, yes_to, f"remove the lock of {stack.name}", f"{stack.name}: not unlocked")
            with recorded(command.run, "unlock", stack_name, f"locked by {held.sentence}", lasting=False):
                stack.unlock(lock_id)
            sentence = f"{stack.name} is unlocked; it was locked by {held.sentence}"
        elif held:
            remedy = f"crew stacks unlock {environment_name} {stack_name} --id {held.id}"
            sentence += f". If that process has ended: {remedy}"
    if as_json:
        output.print_json({"environment": environment_name, "stack": stack_name, "sentence": sentence})
    else:
        output.say(sentence)
    return ExitCode.DONE


def _apply(command: StacksCommand, stack: Stack, planned: SavedPlan, confirmation: Confirmation, *, full: bool) -> str:
    """Print a plan, ask for confirmation, apply it, and return what was done."""
    from jobs.run import recorded
    from jobs.stacks.saved_states import save_state
    from terraform import guard, summary

    name, recorded_changes = stack.paths.stack, stack.recorded_by_apply(planned)
    with command.terminal:
        command.run.check()
        _print_plan(command, stack, planned, full=full)
        guard.refuse_destruction(stack.name, planned.plan, command.environment.terraform.keep)
        if planned.plan.is_empty and not recorded_changes:
            return "nothing to do"
        confirmation.ask(command, f"apply this plan to {stack.name}", f"{stack.name}: not applied")
    counts = summary.planned_counts(planned.plan, len(recorded_changes))
    with recorded(command.run, confirmation.verb, name, counts):
        stack.apply(planned, lambda state: save_state(command.run, name, state))
    if planned.plan.is_empty:
        return f"{len(recorded_changes)} changed outside, recorded in the state"
    return summary.applied_counts(planned.plan)


def _print_plan(command: StacksCommand, stack: Stack, planned: SavedPlan, *, full: bool) -> None:
    """Print a plan, or keep it for the JSON object that is printed at the end."""
    from terraform import summary

    recorded = stack.recorded_by_apply(planned)
    lines = [*summary.plan_lines(planned.plan), *summary.recorded_lines(recorded)]
    if command.as_json:
        changes = [{"action": line.action, "address": line.address, "edits": line.edits} for line in lines]
        command.plans_as_json[stack.paths.stack] = {"changes": changes}
        return
    text = planned.text() if full else ""
    style = output.BAD if any(line.is_dangerous for line in lines) else ""
    with command.terminal:
        output.say(f"{stack.name}: {summary.planned_counts(planned.plan, len(recorded))}", style)
        for line in lines:
            mark = summary.MARKS[line.action]
            output.say(f"  {mark:>6} {line.address} {line.edits}".rstrip(), PLAN_STYLES.get(line.action, ""))
        if text:
            output.say_lines(text)


@dataclass(frozen=True)
class Confirmation:
    """The options that answer the question before a plan is applied."""

    verb: str
    yes: bool
    yes_to: str | None

    def require_possible(self, command: StacksCommand) -> None:
        """Raise WrongUsage, before anything is planned, if no question can be asked and --yes is missing."""
        if not command.environment.protected:
            prompts.require_terminal(f"{self.verb} stacks of {command.environment.name}", yes=self._is_given(command))

    def ask(self, command: StacksCommand, action: str, undone: str) -> None:
        """Return once the user confirms; for a protected environment the user types its name."""
        if command.environment.protected:
            _confirm_protected(command, self.yes_to, action, undone)
        else:
            prompts.confirm(action, undone, yes=self._is_given(command), check=command.run.check)

    def _is_given(self, command: StacksCommand) -> bool:
        return self.yes or self.yes_to == command.environment.name


def _confirm_protected(command: StacksCommand, yes_to: str | None, action: str, undone: str) -> None:
    """Ask before a protected environment is changed."""
    if command.environment.protected:
        name = command.environment.name
        prompts.confirm_protected(name, f"{name} is protected", action, undone, yes_to=yes_to, check=command.run.check)
