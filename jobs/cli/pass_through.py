"""`crew stacks terraform`: run any command of Terraform on a stack."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from inventories import ExitCode
from jobs.cli import output
from jobs.cli.arguments import AsJson, EnvironmentName, YesTo
from jobs.cli.stacks_command import (
    LockTimeout,
    StackName,
    StacksCommand,
    confirm_protected_environment,
    open_stacks_command,
)

if TYPE_CHECKING:
    from terraform.pass_through import PassedCommand
    from terraform.stack import Stack


def terraform_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_name: StackName,
    args: Annotated[list[str], typer.Argument(metavar="-- COMMAND...", help="Terraform's command and its arguments.")],
    yes_to: YesTo = None,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """Run a command of Terraform on a stack.

    It runs in the stack's directory, with the state and the values of the environment. Before a command that can
    change the state, crew saves the state and writes a run record. In a protected environment it asks first.
    Terraform reads no input. apply, destroy, force-unlock and workspace are refused.
    """
    from jobs.run import recorded
    from jobs.store import require_mark

    stacks = [stack_name]
    with open_stacks_command(ctx, environment_name, stacks, lock_timeout=lock_timeout, as_json=as_json) as command:
        stack = command.stack(stack_name)
        passed = stack.passed_command(args)
        if not passed.changes_state:
            return _pass_through(command, stack, passed)
        require_mark(command.run.store, environment_name)  # where the states are saved
        words = " ".join(args)
        confirm_protected_environment(command, yes_to, f"run terraform {words}", f"{stack.name}: not changed")
        with recorded(command.run, "terraform", stack_name, words):
            return _pass_through(command, stack, passed)


def _pass_through(command: StacksCommand, stack: Stack, passed: PassedCommand) -> int:
    """Run a command, pass its output on, and return its exit code; raise a StackError if it fails."""
    from jobs.stacks.saved_states import save_state
    from terraform.diagnosis import diagnose

    name, saved, out, err = stack.paths.stack, list[str](), list[bytes](), list[bytes]()

    def save(state: str) -> None:
        saved.append(save_state(command.run, name, state, before="terraform"))

    def hear(line: bytes) -> None:
        out.append(line)
        if not command.as_json:
            output.pass_on(line, sys.stdout)

    def hear_error(line: bytes) -> None:
        err.append(line)
        if not command.as_json:
            output.pass_on(line, sys.stderr)

    code = stack.pass_through(passed, save, hear, hear_error)
    if code not in (ExitCode.DONE, ExitCode.FINDING):
        if saved:
            output.say_to_stderr(f"{stack.name}: the state before this command is saved as {saved[0]}")
        raise diagnose(stack.name, f"terraform {passed.name}", output.without_colours(b"".join(err or out)), code)
    if command.as_json:
        output.print_json(
            {"environment": command.environment.name, "stack": name, "command": passed.name, "exit_code": code,
             "saved_state": saved[0] if saved else None, "output": output.without_colours(b"".join(out))}
        )  # fmt: skip
    return code
