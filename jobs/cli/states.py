"""`crew stacks states`: list, show, compare and restore the saved states of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage, YesTo
from jobs.cli.stacks_command import Confirmation, LockTimeout, StackName, StacksCommand, Yes, open_stacks_command

if TYPE_CHECKING:
    from jobs.stacks.saved_states import SavedState
    from terraform.state import StateDifference

CURRENT = "current"
_STYLES = {"removed": output.BAD, "added": output.GOOD}
_MARKS = {"removed": "-", "added": "+", "changed": "~"}


def states_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    stack_name: StackName,
    show: Annotated[
        str | None,
        typer.Option(metavar="ID", help="List the resources and outputs of a saved state, without values."),
    ] = None,
    diff: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="ID ID", help="Compare two states: addresses and names of attributes, without values."),
    ] = None,
    restore: Annotated[
        str | None, typer.Option(metavar="ID", help="Replace the current state by a saved one. Asks first.")
    ] = None,
    yes: Yes = False,
    yes_to: YesTo = None,
    lock_timeout: LockTimeout = "60s",
    as_json: AsJson = False,
) -> int:
    """List the saved states of a stack, newest first.

    A state is saved before each change; the newest 30 are kept. The ID `current` means the state that is in use.
    A restore changes no resource: it saves the current state, then replaces it. Plan afterwards.
    """
    if sum(option is not None for option in (show, diff, restore)) > 1:
        raise WrongUsage("use one of --show, --diff and --restore")
    with open_stacks_command(
        ctx, environment_name, [stack_name], lock_timeout=lock_timeout, as_json=as_json
    ) as command:
        if show:
            return _show(command, stack_name, show)
        if diff:
            return _compare(command, stack_name, *diff)
        if restore:
            return _restore(command, stack_name, restore, Confirmation("restore", yes=yes, yes_to=yes_to))
        return _list(command, stack_name)


def _list(command: StacksCommand, stack: str) -> int:
    from datetime import UTC, datetime

    from jobs.format import format_size, format_time
    from jobs.stacks.saved_states import saved_states

    environment, states = command.environment, saved_states(command.run, stack)
    if command.as_json:
        listed = [saved_state_as_json(state) for state in states]
        output.print_json({"environment": environment.name, "stack": stack, "states": listed})
    elif not states:
        output.say(f"{environment.name}/{stack}: no state is saved; crew saves one before each change", output.QUIET)
    else:
        now = datetime.now(UTC)
        rows = [
            (
                format_time(state.saved, now, environment.timezone),
                "?" if state.serial is None else str(state.serial),
                format_size(state.size),
                f"before {state.before}" if state.before else "",
                state.id,
            )
            for state in states
        ]
        output.table(rows, ("saved", "serial", "size", "why", "ID"))
    return ExitCode.DONE


def saved_state_as_json(state: SavedState) -> dict[str, Any]:
    """Return a saved state for --json."""
    from jobs.backup import iso_timestamp

    return {
        "id": state.id,
        "saved": iso_timestamp(state.saved),
        "serial": state.serial,
        "before": state.before,
        "bytes": state.size,
    }


def _read(command: StacksCommand, stack: str, identifier: str) -> str:
    """Return a saved state, or the current one."""
    from jobs.stacks.saved_states import read_state

    if identifier == CURRENT:
        return command.stack(stack).current_state()
    return read_state(command.run, stack, identifier)


def _show(command: StacksCommand, stack: str, identifier: str) -> int:
    from jobs.format import plural
    from terraform.state import state_contents, state_version

    state = _read(command, stack, identifier)
    addresses, version = sorted(state_contents(state)), state_version(state)
    if command.as_json:
        output.print_json(
            {"environment": command.environment.name, "stack": stack, "id": identifier, "serial": version.number,
             "addresses": addresses}
        )  # fmt: skip
        return ExitCode.DONE
    resources = sum(not address.startswith("output.") for address in addresses)
    counts = f"{plural(resources, 'resource')}, {plural(len(addresses) - resources, 'output')}"
    output.say(f"{command.environment.name}/{stack}, state {identifier}, serial {version.number}: {counts}")
    for address in addresses:
        output.say(f"  {address}")
    return ExitCode.DONE


def _compare(command: StacksCommand, stack: str, first: str, second: str) -> int:
    from terraform.state import state_differences

    found = state_differences(_read(command, stack, first), _read(command, stack, second))
    if command.as_json:
        changes = [_state_difference_as_json(each) for each in found]
        output.print_json(
            {"environment": command.environment.name, "stack": stack, "from": first, "to": second, "changes": changes}
        )
    else:
        _print_differences(f"{command.environment.name}/{stack}, from {first} to {second}", found)
    return ExitCode.DONE


def _state_difference_as_json(each: StateDifference) -> dict[str, Any]:
    return {"action": each.action, "address": each.address, "attributes": list(each.attributes)}


def _print_differences(title: str, found: Sequence[StateDifference]) -> None:
    from jobs.format import plural

    output.say(f"{title}: {plural(len(found), 'difference') if found else 'no difference'}")
    for each in found:
        line = f"  {_MARKS[each.action]} {each.address}  {', '.join(each.attributes)}"
        output.say(line.rstrip(), _STYLES.get(each.action, ""))


def _restore(command: StacksCommand, name: str, identifier: str, confirmation: Confirmation) -> int:
    """Show what a restore changes in the state, ask, save the current state and replace it."""
    from jobs.run import recorded
    from jobs.stacks.saved_states import read_state, save_state
    from jobs.store import require_mark
    from terraform.state import state_differences, state_version, succeeding_state

    stack = command.stack(name)
    confirmation.require_possible(command, f"restore the state of {stack.name}")
    require_mark(command.run.store, command.environment.name)
    saved, current = read_state(command.run, name, identifier), stack.current_state()
    shown = state_version(current)
    succeeding_state(stack.name, saved, current)  # refuses another lineage before it asks
    changes = state_differences(current, saved)
    if not command.as_json:
        _print_differences(f"{stack.name}, from the current state to {identifier}", changes)
    sentence = f"{stack.name}: nothing to restore; the current state has the same resources and outputs"
    if changes:
        confirmation.ask(command, f"replace the state of {stack.name} by this one", f"{stack.name}: not restored")
        with recorded(command.run, "restore", name, f"state {identifier}, serial {state_version(saved).number}"):
            stack.restore_state(saved, shown, lambda state: save_state(command.run, name, state, before="restore"))
        remedy = f"crew stacks plan {command.environment.name} {name}"
        sentence = (
            f"{stack.name}: restored the state {identifier}; no resource has changed. Compare them with: {remedy}"
        )
    if command.as_json:
        output.print_json(
            {"environment": command.environment.name, "stack": name, "id": identifier, "sentence": sentence,
             "changes": [_state_difference_as_json(each) for each in changes]}
        )  # fmt: skip
    else:
        output.say(sentence)
    return ExitCode.DONE
