"""Commands of Terraform that a user runs on a stack: what crew adds, what changes the state, what is refused. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terraform.errors import ChangeRefused

_READING = frozenset({
    "console", "fmt", "get", "graph", "init", "metadata", "modules", "output", "plan", "providers", "query", "show",
    "validate", "version",
})  # fmt: skip
_READING_STATE = frozenset({"identities", "list", "pull", "show"})
_WITH_VALUES = frozenset({"console", "import", "plan", "query", "refresh", "test"})
_WITH_LOCK = frozenset({"import", "plan", "refresh", "taint", "untaint"})
_STATE_WITH_LOCK = frozenset({"mv", "push", "replace-provider", "rm"})
_ONE_STATE = "each environment has one state per stack; add an environment instead (crew init)"
_OTHER_COMMAND = {
    "apply": "use: crew stacks apply {names} (it applies only a plan that it showed)",
    "destroy": "use: crew stacks destroy {names} (it asks, and refuses to destroy what must be kept)",
    "env": _ONE_STATE,
    "force-unlock": "use: crew stacks unlock {names} (it shows the holder)",
    "workspace": _ONE_STATE,
}
_BACKEND_OPTIONS = ("backend", "backend-config", "force-copy", "migrate-state", "reconfigure")


@dataclass(frozen=True, slots=True)
class PassedCommand:
    """A command for Terraform, with the options that crew adds."""

    name: str
    """The words of the command, such as state mv."""
    argv: tuple[str, ...]
    changes_state: bool


def passed_command(
    stack: str, args: Sequence[str], var_files: Sequence[Path], backend: Path, lock_timeout: str
) -> PassedCommand:
    """Return the command to run; ChangeRefused if crew has its own command for it, or if it goes round the safeguards.

    A command that crew does not know counts as one that changes the state.
    """
    words = args[:2] if args[0] == "state" else args[:1]
    name, options = " ".join(words), [_option_name(arg) for arg in args if arg.startswith("-")]
    if why := _OTHER_COMMAND.get(words[0]):
        why = why.format(names=stack.replace("/", " "))
        raise ChangeRefused(f"{stack}: crew does not pass on {name}: {why}")
    changes_state = _changes_state(words) and not {"help", "h"}.intersection(options)
    if refused := _refused_option(words[0], options, changes_state=changes_state):
        raise ChangeRefused(f"{stack}: crew does not pass on {refused}")
    added = [f"-var-file={file}" for file in var_files] if words[0] in _WITH_VALUES else []
    if words[0] == "init":
        added.append(f"-backend-config={backend}")
    takes_lock = words[0] in _WITH_LOCK or (words[0] == "state" and set(words[1:]) <= _STATE_WITH_LOCK)
    if takes_lock and not {"lock", "lock-timeout"}.intersection(options):
        added.append(f"-lock-timeout={lock_timeout}")
    return PassedCommand(name, (*words, *added, *args[len(words) :]), changes_state)


def _changes_state(words: Sequence[str]) -> bool:
    if words[0] == "state":
        return not set(words[1:]) <= _READING_STATE
    return words[0] not in _READING and not words[0].startswith("-")


def _refused_option(command: str, options: Sequence[str], *, changes_state: bool) -> str:
    """Return the first option that goes round a safeguard and the remedy; empty if there is none."""
    for option in options:
        if option == "chdir":
            return "-chdir: it would leave the directory of the stack"
        if command == "init" and option in _BACKEND_OPTIONS:
            return f"-{option}: the location of the state is in [terraform] state"
        if changes_state and option == "lock":
            return "-lock: a command that changes the state needs the lock; to wait longer, use --lock-timeout"
        if changes_state and option == "var":
            return "-var: the run record would show the value; set the environment variable TF_VAR_name"
    return ""


def _option_name(arg: str) -> str:
    return arg.lstrip("-").partition("=")[0]
