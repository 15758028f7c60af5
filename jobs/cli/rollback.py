"""`crew stacks rollback`: apply the code of the commit that the last good apply came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli import output
from jobs.cli.arguments import AsJson, EnvironmentName, YesTo
from jobs.cli.stack_plans import NOTHING_TO_DO, apply_plan
from jobs.cli.stacks_command import Confirmation, Full, LockTimeout, StackName, StacksCommand, Yes, open_stacks_command

if TYPE_CHECKING:
    from jobs.stacks.commits import PastApply


def rollback_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_name: StackName,
    to: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="Commit to go back to (default: that of the last good apply)."),
    ] = None,
    yes: Yes = False,
    yes_to: YesTo = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Apply the code of an earlier commit to a stack.

    Shows the plan of that code and of its values, asks, and applies exactly this plan. Without --to, goes back to the
    last successful apply whose code differs from that of the newest apply, but never to code that a rollback has left.
    The checkout stays as it is, so revert the bad commit there, too. To restore only the state, use: crew stacks
    states --restore
    """
    from jobs.stacks.commits import code_of_commit, commit_title
    from jobs.stacks.execution import repository_root
    from jobs.store import require_mark

    with open_stacks_command(
        ctx, environment_name, [stack_name], lock_timeout=lock_timeout, as_json=as_json
    ) as command:
        confirmation = Confirmation("rollback", yes=yes, yes_to=yes_to)
        confirmation.require_possible(command, f"roll back {environment_name}/{stack_name}")
        require_mark(command.run.store, environment_name)  # where the states are saved
        root = repository_root(command.environment)
        commit = _target(command, stack_name, root, to)
        stack = command.stack(stack_name)
        if not as_json:
            output.say(f"{stack.name}: back to the code of {commit[:12]} ({commit_title(root, commit)})")
        stack.paths.cache.mkdir(parents=True, exist_ok=True, mode=0o700)

        def roll_back(_name: str) -> str:
            with code_of_commit(root, commit, stack.paths.cache) as code:
                earlier = replace(stack, paths=replace(stack.paths, root=code, checkout=root))
                with earlier.planned(lock=True) as planned:
                    done = apply_plan(command, earlier, planned, confirmation, full=full, commit=commit)
            remedy = "revert the bad commit in the code, or the next apply brings it back"
            return done if done == NOTHING_TO_DO else f"{done}; {remedy}"

        return command.run_all(roll_back)


def _target(command: StacksCommand, stack: str, root: Path, to: str | None) -> str:
    """Return the commit to go back to; ChangeRefused if none is known, or if it lacks the stack."""
    from jobs.stacks.commits import full_commit, git, is_ancestor, last_good_commit
    from terraform.errors import ChangeRefused

    name = f"{command.environment.name}/{stack}"
    found = to or last_good_commit(_applies(command, stack))
    if not found:
        fact = "no record names another commit that was applied without an error"
        raise ChangeRefused(f"{name}: {fact}; choose one with --to COMMIT")
    commit = full_commit(root, found)
    if to is None and not is_ancestor(root, commit):
        fact = f"the last good apply came from {commit}, which the commit of this checkout does not contain"
        raise ChangeRefused(f"{name}: {fact}; check it, and use: --to {commit}")
    if not git(root, "ls-tree", commit, "--", f"terraform/stacks/{stack}").strip():
        raise ChangeRefused(
            f"{name}: commit {commit} has no terraform/stacks/{stack}; choose another one with --to COMMIT"
        )
    return commit


def _applies(command: StacksCommand, stack: str) -> Iterator[PastApply]:
    """Yield each apply and rollback of a stack, newest first."""
    from jobs.run import records
    from jobs.stacks.commits import FIGURE, ROLLBACK

    store, environment = command.run.store, command.environment.name
    by_job = [records(store, environment, job, stack) for job in ("apply", ROLLBACK)]
    for record in merge(*by_job, key=lambda record: record.started, reverse=True):  # each is read when it is needed
        yield record.job, record.outcome, str(record.figures.get(FIGURE, ""))
