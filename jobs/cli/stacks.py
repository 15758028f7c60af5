"""`crew stacks`: Terraform, per environment, in order, and with care."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, NotConfigured, WrongUsage, examples, new_app
from jobs.cli.prompts import asked

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.job import Run
    from terraform.order import StackOutcome
    from terraform.plan import Plan
    from terraform.stack import SavedPlan, Stack

app = new_app(several="Terraform, per environment, in order, and with care.")

StackNames = Annotated[
    list[str] | None, typer.Argument(metavar="[STACK]...", help="The stacks; left out: all of the environment.")
]
YesTo = Annotated[str | None, typer.Option(metavar="NAME", help="Yes, change this protected environment.")]
Full = Annotated[bool, typer.Option("--full", help="Terraform's own text too.")]
LockTimeout = Annotated[
    str, typer.Option(metavar="DURATION", help="How long to wait for somebody else's lock, such as 5m.")
]
RISK = (
    "Terraform is finishing what it has begun, and then saves the state. Killed now, what it has just made would be "
    "in no state, and the lock would stay: wait for it"
)
_DOES = re.compile(
    r'(?:[^\s"]|"(?:[^"\\]|\\.)*")+(?: \(deposed object \w+\))?: '
    r"(?:(?:Creat|Modify|Destroy|Import)ing\.\.\.|Still (?:creat|modify|destroy|import)ing\.\.\.|"
    r"(?:Creation|Modifications|Destruction|Import) complete)"
)
"""Terraform's own words on a resource, which it begins a line with: an address, and what is done there."""
STYLES = {"destroy": output.BAD, "replace": output.BAD, "forget": output.WARN, "create": output.GOOD}


@dataclass
class Call:
    """What one command line works with."""

    environment: Environment
    run: Run
    names: tuple[str, ...]
    lock_timeout: str
    as_json: bool
    one_at_a_time: threading.Lock = field(default_factory=threading.Lock)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stack(self, name: str) -> Stack:
        """A stack, whose progress is told on stderr."""
        from dataclasses import replace

        from jobs.stacks import execution

        made = execution.open_stack(
            self.environment, name, execution.graceful_start(self.run), lambda line: progress(name, line)
        )
        return replace(made, lock_timeout=self.lock_timeout)

    def in_order(
        self, work: Callable[[str], object], *, ties: bool = True, backwards: bool = False, shown: bool = False
    ) -> int:
        """Work on the stacks and say how each went, unless that of the only one was `shown`; the exit code."""
        from terraform.order import dependencies, run_in_order

        after = {name: stack.after for name, stack in self.environment.stacks.items()} if ties else {}
        ended = run_in_order(dependencies(self.names, after, backwards=backwards), work)
        return self._tell(ended, shown=shown)

    def _tell(self, ended: Sequence[StackOutcome[object]], *, shown: bool) -> int:
        from inventories import redact

        outcomes = [(one.stack, *_outcome(self.environment.name, one)) for one in ended]
        if self.as_json:
            stacks = [
                {"stack": name, "outcome": outcome, "sentence": redact(sentence), **self.told.get(name, {})}
                for name, outcome, sentence in outcomes
            ]
            arguments.print_json({"environment": self.environment.name, "stacks": stacks})
        elif not shown or len(outcomes) > 1 or any(outcome != "done" for _, outcome, _ in outcomes):
            looks = {"done": output.GOOD, "failed": output.BAD, "skipped": output.WARN}
            output.say("")
            output.table([(output.Cell(outcome, looks[outcome]), name, text) for name, outcome, text in outcomes])
        return ExitCode.DONE if all(outcome == "done" for _, outcome, _ in outcomes) else ExitCode.FAILED


def _outcome(environment: str, one: StackOutcome[object]) -> tuple[str, str]:
    from jobs.cli.exit_codes import known_end

    if one.skipped_for:
        return "skipped", f"because {one.skipped_for} failed"
    if one.error is None:
        return "done", str(one.value)
    if known_end(one.error) is None:
        raise one.error
    return "failed", str(one.error).removeprefix(f"{environment}/{one.stack}: ")


@contextmanager
def called(
    ctx: typer.Context, name: str, stacks: Sequence[str] | None, *, lock_timeout: str = "60s", as_json: bool = False
) -> Iterator[Call]:
    """The environment and the stacks of it that were named, or all."""
    from jobs.run import unrecorded_run
    from jobs.store import open_store

    environment = arguments.environment(ctx, name)
    unknown = [stack for stack in stacks or () if stack not in environment.stacks]
    if unknown:
        from jobs.stacks.drift import list_stacks

        raise WrongUsage(f"{name}: there is no stack {unknown[0]}; {list_stacks(environment)}")
    if not environment.stacks:
        raise NotConfigured(f"{name}: has no stacks; add [stacks.NAME] for a folder of terraform/stacks")
    if environment.store is None:
        raise NotConfigured(f"{name}: has no [store]; stacks keep what was their state there")
    # A run without lock and record, in whose name programs are started and ended.
    with unrecorded_run(environment, open_store(environment.store), "stacks", name, warning=RISK) as run:
        yield Call(environment, run, tuple(stacks or environment.stacks), lock_timeout, as_json)


def progress(stack: str, line: str) -> None:
    """Tell what Terraform does to a resource as it does it."""
    from inventories import redact

    if _DOES.match(line):
        typer.echo(redact(f"{stack}: {line}"), err=True)


@app.command("bootstrap", epilog=examples("crew stacks bootstrap staging"))
def bootstrap(ctx: typer.Context, environment_name: EnvironmentName, as_json: AsJson = False) -> int:
    """Make the bucket for the state and the table that locks it; what is there stays. Safe to repeat."""
    from terraform import remote

    environment = arguments.environment(ctx, environment_name)
    if environment.terraform.state is None:
        way_out = 'add state = { bucket = "…", region = "…", lock_table = "…" }'
        raise NotConfigured(f"{environment.name}: [terraform] names no state; {way_out}")
    done = remote.create_backend(environment.name, environment.terraform.state)
    if as_json:
        arguments.print_json({"environment": environment.name, "done": done})
    else:
        for sentence in done:
            output.say(f"{environment.name}: {sentence}")
    return ExitCode.DONE


@app.command("plan", epilog=examples("crew stacks plan staging", "crew stacks plan staging network --full"))
def plan(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    full: Full = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the plans there, for apply --saved. They hold secrets.")
    ] = None,
    lock_timeout: LockTimeout = "60s",
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Take no lock, which wants a right to write: for who may only read.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Say what apply would do: how many of what, then a line for each, the loudest first."""
    if save and no_lock:
        raise WrongUsage("a plan to keep is made under the lock of the state; leave out --no-lock, or --save")
    with called(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as call:

        def one(name: str) -> str:
            stack = call.stack(name)
            with stack.planned(lock=not no_lock) as planned:
                if save:
                    stack.save_plan(planned, save)
                _show(call, stack, planned, full=full)
                return _counts(planned.plan, len(stack.recorded_by_apply(planned)))

        return call.in_order(one, ties=False, shown=True)


@app.command("apply", epilog=examples("crew stacks apply staging", "crew stacks apply production --yes-to production"))
def apply(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    yes_to: YesTo = None,
    saved: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Apply the plans that plan --save kept there.")
    ] = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Plan, show, and apply exactly what was shown.

    The state is saved to the store beforehand. What [terraform] keep names, or is tagged keep, is never destroyed.
    Stacks run in the order of after; what follows a failed one is skipped.
    """
    with called(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as call:

        def one(name: str) -> str:
            stack = call.stack(name)
            with stack.saved_plan(saved) if saved else stack.planned(lock=True) as planned:
                return _applied(call, stack, planned, yes_to, full=full)

        return call.in_order(one)


@app.command("destroy", epilog=examples("crew stacks destroy staging cluster"))
def destroy(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    yes_to: YesTo = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Destroy what stacks have made, the last first; what is to be kept is refused beforehand."""
    with called(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as call:

        def one(name: str) -> str:
            stack = call.stack(name)
            with stack.planned(lock=True, destroy=True) as planned:
                return _applied(call, stack, planned, yes_to, full=full)

        return call.in_order(one, backwards=True)


@app.command("output", epilog=examples("crew stacks output staging", "crew stacks output staging cluster --json"))
def outputs(
    ctx: typer.Context, environment_name: EnvironmentName, stack_names: StackNames = None, as_json: AsJson = False
) -> int:
    """Print the outputs of stacks; sensitive ones are left out."""
    with called(ctx, environment_name, stack_names, as_json=as_json) as call:
        found = {name: call.stack(name).outputs() for name in call.names}
    shown = {
        stack: {name: one["value"] for name, one in sorted(values.items()) if not one.get("sensitive")}
        for stack, values in found.items()
    }
    if as_json:
        arguments.print_json({"environment": environment_name, "stacks": shown})
        return ExitCode.DONE
    from json import dumps

    for stack, values in found.items():
        if not values:
            output.say(f"{stack} has no outputs: it has none in its code, or was never applied", output.QUIET)
        for name, one in sorted(values.items()):
            value = one["value"] if isinstance(one["value"], str) else dumps(one["value"], ensure_ascii=False)
            output.say(f"{stack}.{name} = {'(sensitive)' if one.get('sensitive') else value}")
    return ExitCode.DONE


@app.command("unlock", epilog=examples("crew stacks unlock staging network --id 6f1c…"))
def unlock(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_name: Annotated[str, typer.Argument(metavar="STACK", help="The stack.")],
    lock: Annotated[str | None, typer.Option("--id", metavar="ID", help="The lock, as who met it was told.")] = None,
    yes_to: YesTo = None,
    as_json: AsJson = False,
) -> int:
    """Take away a lock whose holder is dead; without --id, say who holds it."""
    from terraform import remote

    with called(ctx, environment_name, [stack_name], as_json=as_json) as call:
        stack = call.stack(stack_name)
        held = remote.current_lock(stack.state, environment_name, stack_name)
        sentence = f"{stack.name} is locked by {held.sentence}" if held else f"{stack.name} is not locked"
        if held and lock:
            if lock != held.id:
                raise WrongUsage(f"{sentence}, with another lock: {held.id}")
            _consent(call, yes_to, f"Take the lock of {stack.name} away", f"{stack.name}: not unlocked")
            stack.unlock(lock)
            sentence = f"{stack.name} is unlocked; it was locked by {held.sentence}"
        elif held:
            sentence += f"; if that process is dead: crew stacks unlock {environment_name} {stack_name} --id {held.id}"
    if as_json:
        arguments.print_json({"environment": environment_name, "stack": stack_name, "sentence": sentence})
    else:
        output.say(sentence)
    return ExitCode.DONE


def _applied(call: Call, stack: Stack, planned: SavedPlan, yes_to: str | None, *, full: bool) -> str:
    """Show a plan, ask, and apply it; what was done, in words."""
    from jobs.stacks.execution import save_state
    from terraform import guard, summary

    name, recorded = stack.paths.stack, stack.recorded_by_apply(planned)
    with call.one_at_a_time:
        call.run.check()
        _show(call, stack, planned, full=full, locked=True)
        guard.refuse_destruction(stack.name, planned.plan, call.environment.terraform.keep)
        if planned.plan.is_empty and not recorded:
            return "nothing to do"
        _consent(call, yes_to, f"Apply this to {stack.name}", f"{stack.name}: not applied")
    stack.apply(planned, lambda state: save_state(call.run, name, state))
    return (
        f"{len(recorded)} changed outside, recorded in the state"
        if planned.plan.is_empty
        else summary.applied_counts(planned.plan)
    )


def _counts(plan: Plan, recorded: int) -> str:
    from terraform.summary import planned_counts

    return planned_counts(plan, recorded)


def _show(call: Call, stack: Stack, planned: SavedPlan, *, full: bool, locked: bool = False) -> None:
    """A plan for people, one stack's at a time; for machines it waits until the end."""
    from terraform import summary

    recorded = stack.recorded_by_apply(planned)
    lines = [*summary.plan_lines(planned.plan), *summary.recorded_lines(recorded)]
    if call.as_json:
        changes = [{"action": line.action, "address": line.address, "edits": line.edits} for line in lines]
        call.told[stack.paths.stack] = {"changes": changes}
        return
    text = planned.text() if full else ""
    if not locked:
        call.one_at_a_time.acquire()
    try:
        output.say(
            f"{stack.name}: {summary.planned_counts(planned.plan, len(recorded))}", output.BAD if _loud(lines) else ""
        )
        for line in lines:
            mark = summary.MARKS[line.action]
            output.say(f"  {mark:>6} {line.address} {line.edits}".rstrip(), STYLES.get(line.action, ""))
        if text:
            output.say(text)
    finally:
        if not locked:
            call.one_at_a_time.release()


def _loud(lines: Sequence[Any]) -> bool:
    return any(line.is_dangerous for line in lines)


def _consent(call: Call, yes_to: str | None, what: str, undone: str) -> None:
    """Ask before a protected environment is changed; Refused, with what is left undone, if the answer is no."""
    from jobs.run.stop import Stopped
    from terraform.errors import ChangeRefused

    environment = call.environment
    if not environment.protected or yes_to == environment.name:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(f"{what}? {environment.name} is protected; to say yes: --yes-to {environment.name}")
    try:
        answer = asked(call.run, f"{what}? {environment.name} is protected; type its name")
    except Stopped as stopped:
        raise ChangeRefused(f"{undone}; {stopped}") from None
    if answer != environment.name:
        raise ChangeRefused(f"{undone}; the answer was not {environment.name}")
