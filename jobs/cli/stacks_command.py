"""What the commands of `crew stacks` share: the environment and its stacks, the outcomes, the confirmation."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import NotConfigured, WrongUsage

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.context import RunContext
    from terraform.order import StackOutcome
    from terraform.stack import Stack

StackName = Annotated[
    str,
    typer.Argument(
        metavar="STACK", help="Stack, as named in the environment file.", autocompletion=arguments.complete_stack
    ),
]
LockTimeout = Annotated[
    str, typer.Option(metavar="DURATION", help="How long to wait for a lock that is held, such as 30s or 5m.")
]
Full = Annotated[bool, typer.Option("--full", help="Also print Terraform's own text of the plan.")]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Do not ask; required without a terminal. A protected environment needs --yes-to instead."
    ),
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
OUTCOME_STYLES = {"done": output.GOOD, "failed": output.BAD, "skipped": output.WARN, "waits": output.WARN}


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
    unapplied: dict[str, bool] = field(default_factory=dict)
    """The stacks whose plan this command has made, and whether it has changes."""
    refused: set[str] = field(default_factory=set)
    """The stacks whose plan does not pass one of [terraform] checks."""

    def stack(self, name: str) -> Stack:
        """Return a stack that prints Terraform's progress to stderr."""
        from jobs.stacks.execution import graceful_start, open_stack

        stack = open_stack(self.environment, name, graceful_start(self.run), lambda line: print_progress(name, line))
        return replace(stack, lock_timeout=self.lock_timeout)

    @property
    def after(self) -> dict[str, tuple[str, ...]]:
        """The stacks that each stack of the environment comes after."""
        return {name: stack.after for name, stack in self.environment.stacks.items()}

    def run_all(self, work: Callable[[str], object], *, backwards: bool = False) -> int:
        """Run `work` for each stack in their order, print the outcomes, and return the exit code."""
        from terraform.order import dependencies, run_in_order

        outcomes = run_in_order(dependencies(self.names, self.after, backwards=backwards), work)
        return self._print_outcomes(outcomes, plans_printed=False)

    def plan_all(
        self, work: Callable[[str], object], keep: Callable[[Sequence[StackOutcome[object]]], str] | None = None
    ) -> int:
        """Run `work`, which plans and prints, for each stack in any order, print the outcomes, return the exit code.

        A stack whose data sources find nothing waits if a stack before it has changes to apply. `keep` gets the
        outcomes if no stack failed, and returns the ID of the kept plans.
        """
        from terraform.order import dependencies, run_in_order

        outcomes = [self._waiting(each) for each in run_in_order(dependencies(self.names, {}, backwards=False), work)]
        failed = any(each.error and not each.waits_for for each in outcomes)
        kept = keep(outcomes) if keep and not failed else ""
        code = self._print_outcomes(outcomes, plans_printed=True, kept=kept)
        if keep and failed:
            output.say_to_stderr(f"{self.environment.name}: no plan is kept, because a stack failed")
        return code

    def _waiting(self, outcome: StackOutcome[object]) -> StackOutcome[object]:
        from terraform.errors import MissingData

        waits_for = self.waits_for(outcome.stack) if isinstance(outcome.error, MissingData) else ""
        return replace(outcome, waits_for=waits_for)

    def waits_for(self, name: str) -> str:
        """Return the stack that must be applied before this one can be planned; empty if there is none."""
        from terraform.order import unapplied_dependency

        return unapplied_dependency(name, self.after, self._is_unapplied)

    @contextmanager
    def named_dependency(self, name: str) -> Iterator[None]:
        """Raise ChangeRefused with the remedy if the data sources of a stack find nothing, and it waits for another."""
        from terraform.errors import ChangeRefused, MissingData

        try:
            yield
        except MissingData as error:
            if not (other := self.waits_for(name)):
                raise
            remedy = f"apply that one first: crew stacks apply {self.environment.name} {other} {name}"
            raise ChangeRefused(f"{error}; {name} waits for {other}, which is not applied yet; {remedy}") from None

    def _is_unapplied(self, name: str) -> bool:
        """Return whether a stack has changes to apply, or waits for one; plan it if this command has not done so."""
        from terraform.errors import MissingData, StackError

        if name not in self.unapplied:
            try:
                with self.stack(name).planned(lock=False) as planned:
                    self.unapplied[name] = not planned.plan.is_empty
            except MissingData:
                self.unapplied[name] = bool(self.waits_for(name))
            except StackError:
                self.unapplied[name] = False
        return self.unapplied[name]

    def _print_outcomes(self, outcomes: Sequence[StackOutcome[object]], *, plans_printed: bool, kept: str = "") -> int:
        from inventories import redact

        rows = [(each.stack, *_outcome(self.environment.name, each)) for each in outcomes]
        all_done = all(outcome in ("done", "waits") for _, outcome, _ in rows)
        if self.as_json:
            stacks = [
                {"stack": name, "outcome": outcome, "sentence": redact(sentence), **self.plans_as_json.get(name, {}),
                 **({"waits_for": each.waits_for} if outcome == "waits" else {})}
                for each, (name, outcome, sentence) in zip(outcomes, rows, strict=True)
            ]  # fmt: skip
            output.print_json({"environment": self.environment.name, "stacks": stacks, "kept": kept or None})
        elif not plans_printed or [outcome for _, outcome, _ in rows] != ["done"]:
            output.say("")
            output.table([(output.Cell(outcome, OUTCOME_STYLES[outcome]), name, text) for name, outcome, text in rows])
        if kept and not self.as_json:
            output.say(f"kept as {kept}")
        if not all_done:
            return ExitCode.FAILED
        return ExitCode.FINDING if self.refused else ExitCode.DONE


def _outcome(environment: str, outcome: StackOutcome[object]) -> tuple[str, str]:
    """Return the outcome of a stack and its sentence; for a bug, it is a message that asks for a bug report."""
    from jobs.cli.exit_codes import apology, explained

    if outcome.skipped_for:
        return "skipped", f"because {outcome.skipped_for} failed"
    if outcome.error is None:
        return "done", str(outcome.value)
    if explained(outcome.error) is None:
        return "failed", apology(outcome.error)
    sentence = str(outcome.error).removeprefix(f"{environment}/{outcome.stack}: ")
    if outcome.waits_for:
        reason = sentence.partition(" failed: ")[2]
        return "waits", f"for {outcome.waits_for}, which is not applied yet ({reason})"
    return "failed", sentence


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


@dataclass(frozen=True)
class Confirmation:
    """The options that answer the question before a plan is applied."""

    verb: str
    yes: bool
    yes_to: str | None

    def require_possible(self, command: StacksCommand, action: str = "") -> None:
        """Raise WrongUsage, before anything is planned, if no question can be asked and --yes is missing."""
        if not command.environment.protected:
            action = action or f"{self.verb} stacks of {command.environment.name}"
            prompts.require_terminal(action, yes=self._is_given(command))

    def ask(self, command: StacksCommand, action: str, undone: str) -> None:
        """Return once the user confirms; for a protected environment the user types its name."""
        if command.environment.protected:
            confirm_protected_environment(command, self.yes_to, action, undone)
        else:
            prompts.confirm(action, undone, yes=self._is_given(command), check=command.run.check)

    def _is_given(self, command: StacksCommand) -> bool:
        return self.yes or self.yes_to == command.environment.name


def confirm_protected_environment(command: StacksCommand, yes_to: str | None, action: str, undone: str) -> None:
    """Ask before a protected environment is changed."""
    if command.environment.protected:
        name = command.environment.name
        prompts.confirm_protected(name, f"{name} is protected", action, undone, yes_to=yes_to, check=command.run.check)
