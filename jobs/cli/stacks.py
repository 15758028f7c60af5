"""`crew stacks`: plan and apply an environment's Terraform stacks."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventories import ExitCode
from jobs.cli import arguments, output, pass_through, rollback, states
from jobs.cli.arguments import AsJson, EnvironmentName, NotConfigured, WrongUsage, YesTo, examples, new_app
from jobs.cli.kept import PlanKeeper, kept_plan
from jobs.cli.stack_plans import apply_plan, print_plan
from jobs.cli.stacks_command import (
    Confirmation,
    Full,
    LockTimeout,
    StackName,
    StacksCommand,
    Yes,
    confirm_protected_environment,
    open_stacks_command,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from terraform.stack import SavedPlan, Stack

app = new_app(
    group_help="Plan and apply an environment's Terraform stacks.",
    group_examples=[
        "crew stacks bootstrap staging",
        "crew stacks plan staging",
        "crew stacks apply staging network",
    ],
)

StackNames = Annotated[
    list[str] | None,
    typer.Argument(metavar="STACK...", help="Stacks (default: all).", autocompletion=arguments.complete_stack),
]


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


@app.command(
    "plan",
    epilog=examples(
        "crew stacks plan staging", "crew stacks plan staging network --full", "crew stacks plan production --keep"
    ),
)
def plan_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_names: StackNames = None,
    full: Full = False,
    save: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the plans in DIR, for apply --saved. Plans contain secrets."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the plans in the store, encrypted, for apply --kept. Prints their ID.")
    ] = False,
    lock_timeout: LockTimeout = "60s",
    no_lock: Annotated[
        bool, typer.Option("--no-lock", help="Do not lock the state; for credentials that can only read.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show what apply would change.

    Prints counts, then one line for each resource, destructive changes first. A stack waits if its data sources need
    what a stack before it has not created yet. Runs [terraform] checks; exits with 2 if a plan does not pass one.
    """
    if save and no_lock:
        raise WrongUsage("--save needs the lock of the state; omit --no-lock or --save")
    with open_stacks_command(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as command:
        if save:
            with output.writing_to(save):
                save.mkdir(parents=True, exist_ok=True, mode=0o700)
        keeper = _keeper(command) if keep else None

        def plan_stack(name: str) -> str:
            stack = command.stack(name)
            with stack.planned(lock=not no_lock) as planned:
                if save:
                    with output.writing_to(save):
                        stack.save_plan(planned, save)
                if keeper:
                    keeper.keep(stack, planned)
                command.unapplied[name] = not planned.plan.is_empty
                return print_plan(command, stack, planned, full=full)

        return command.plan_all(plan_stack, keeper.finish if keeper else None)


def _keeper(command: StacksCommand) -> PlanKeeper:
    """Return the keeper of a command's plans; an error if no plan can be kept."""
    from jobs.stacks.commits import clean_commit
    from jobs.stacks.execution import repository_root
    from jobs.stacks.kept_plans import plan_recipients
    from jobs.store import require_mark

    plan_recipients(command.environment)
    require_mark(command.run.store, command.environment.name)
    return PlanKeeper(command, clean_commit(repository_root(command.environment)))


@app.command(
    "apply",
    epilog=examples(
        "crew stacks apply staging",
        "crew stacks apply staging network --yes",
        "crew stacks apply production --yes-to production",
        "crew stacks apply production --kept 1a2b3c4d5e6f-0123456789abcdef01234567 --yes-to production",
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
    kept: Annotated[
        str | None, typer.Option(metavar="ID", help="Apply the plans that plan --keep kept under this ID.")
    ] = None,
    full: Full = False,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Show the plan, ask to confirm, and apply exactly this plan.

    Saves the state to the store before each apply. Never destroys a resource whose type is in [terraform] keep or that
    is tagged keep, and applies no plan that fails one of [terraform] checks. Stacks run in the order of `after`; stacks
    after a failed one are skipped. With --kept, a stack whose plan had to wait is planned again after the stack before
    it, and applied only if it destroys nothing.
    """
    from jobs.stacks.kept_plans import read_kept_plans
    from jobs.store import require_mark

    if saved and kept is not None:
        raise WrongUsage("use one of --saved and --kept")
    with open_stacks_command(ctx, environment_name, stack_names, lock_timeout=lock_timeout, as_json=as_json) as command:
        confirmation = Confirmation("apply", yes=yes, yes_to=yes_to)
        confirmation.require_possible(command)
        require_mark(command.run.store, environment_name)  # where the states are saved
        plans = None if kept is None else read_kept_plans(command.run, kept)  # an empty ID is an error
        if plans and not stack_names:
            command.names = tuple(name for name in command.names if name in plans.stacks)

        def opened(stack: Stack) -> AbstractContextManager[SavedPlan | None]:
            if plans:
                return kept_plan(command, stack, plans)
            return stack.saved_plan(saved) if saved else stack.planned(lock=True)

        def apply_stack(name: str) -> str:
            stack = command.stack(name)
            with command.named_dependency(name), opened(stack) as planned:
                if planned is None:
                    return "nothing to do when it was planned"
                return apply_plan(command, stack, planned, confirmation, full=full)

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
                return apply_plan(command, stack, planned, confirmation, full=full)

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
    stack_name: StackName,
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
            confirm_protected_environment(
                command, yes_to, f"remove the lock of {stack.name}", f"{stack.name}: not unlocked"
            )
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


app.command(
    "terraform",
    epilog=examples(
        "crew stacks terraform staging network -- state mv aws_vpc.a aws_vpc.b",
        "crew stacks terraform staging network -- state list",
        "crew stacks terraform production network --yes-to production -- import aws_vpc.a vpc-0a1b2c3d",
    ),
)(pass_through.terraform_command)
app.command(
    "states",
    epilog=examples(
        "crew stacks states staging network",
        "crew stacks states staging network --diff 20261129T020000123456Z current",
        "crew stacks states staging network --restore 20261129T020000123456Z",
    ),
)(states.states_command)
app.command(
    "rollback",
    epilog=examples("crew stacks rollback staging network", "crew stacks rollback staging network --to 1a2b3c4d"),
)(rollback.rollback_command)
