"""Questions on a terminal. They can be interrupted while a run handles signals itself."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from jobs.cli import output
from jobs.cli.arguments import WrongUsage

POLL_SECONDS = 0.1
"""How often a question checks whether the run was stopped."""
MAX_LINE_BYTES = 1024


def prompt(question: str, *, check: Callable[[], object] = lambda: None, hidden: bool = False) -> str:
    """Return the answer to a question. `check` raises Stopped once the run was stopped, for example by Ctrl-C."""
    answer = None
    try:
        with _echo_off() if hidden else nullcontext():
            output.say_to_stderr(f"{question}: ", end="")
            answer = read_line(check)
    finally:
        if hidden or answer is None:
            output.say_to_stderr("")
    return answer


def read_line(check: Callable[[], object]) -> str:
    """Return a line from the terminal; call `check` while waiting for it."""
    while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        check()
    return os.read(sys.stdin.fileno(), MAX_LINE_BYTES).decode(errors="replace").strip()


@contextmanager
def _echo_off() -> Iterator[None]:
    """Hide what is typed inside the block."""
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)


def require_terminal(action: str, *, yes: bool) -> None:
    """Raise WrongUsage if a question before `action` could not be asked, and --yes does not answer it."""
    if not yes and not sys.stdin.isatty():
        raise WrongUsage(f"stdin is not a terminal, so crew cannot ask for confirmation. To {action}, add --yes.")


def confirm(action: str, undone: str, *, yes: bool, check: Callable[[], object] = lambda: None) -> None:
    """Return once the user confirms with --yes or by typing yes; `undone` says what has not happened without it."""
    require_terminal(action, yes=yes)
    if not yes:
        _require_answer(f"To {action}, type yes", "yes", undone, check)


def confirm_protected(
    environment: str,
    reason: str,
    action: str,
    undone: str,
    *,
    yes_to: str | None,
    check: Callable[[], object] = lambda: None,
) -> None:
    """Return once the user confirms a change to a protected environment with --yes-to or by typing its name.

    `reason` says why confirmation is needed, `action` what it allows, and `undone` what has not happened without it.
    """
    if yes_to == environment:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(f"{reason}. To {action} anyway, add --yes-to {environment}.")
    _require_answer(f"{reason}. To {action} anyway, type the environment's name", environment, undone, check)


def _require_answer(question: str, expected: str, undone: str, check: Callable[[], object]) -> None:
    """Ask, and raise Failed if the answer differs or the run was stopped."""
    from jobs.run.job import Failed
    from jobs.run.stop import Stopped

    try:
        answer = prompt(question, check=check)
    except Stopped as stopped:
        raise Failed(f"{undone}: {stopped}") from None
    if answer != expected:
        raise Failed(f"{undone}: the answer was not {expected}")
