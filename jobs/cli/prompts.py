"""Questions to who sits at the terminal. A run has the signals for itself, so none would interrupt a mere read."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from jobs.run import Run

MOST_DEAF = 0.1
"""Seconds: how soon a question hears that it is to end."""
LONGEST_LINE = 1024


def asked(run: Run, question: str, *, hidden: bool = False) -> str:
    """The answer; Stopped if the run is told to end, by Ctrl-C."""
    answer = None
    try:
        with _unseen() if hidden else nullcontext():
            typer.echo(f"{question}: ", nl=False, err=True)
            answer = typed(run)
    finally:
        if hidden or answer is None:
            typer.echo("", err=True)
    return answer


def typed(run: Run) -> str:
    """A line from the terminal; Stopped once the run is told to end."""
    while not select.select([sys.stdin], [], [], MOST_DEAF)[0]:
        run.check()
    return os.read(sys.stdin.fileno(), LONGEST_LINE).decode(errors="replace").strip()


@contextmanager
def _unseen() -> Iterator[None]:
    """While inside, the terminal shows nothing of what is typed."""
    import termios

    before = termios.tcgetattr(sys.stdin)
    silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSAFLUSH, before)
