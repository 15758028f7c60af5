"""Redraw what a command prints, on a terminal, until Ctrl-C."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from datetime import UTC, datetime

SECONDS = 30.0


class _TerminalText(io.StringIO):
    """Text for the terminal: what is printed into it is as wide and as coloured as there."""

    def isatty(self) -> bool:
        return True


def printed(say: Callable[[], None]) -> str:
    """Return what a function prints to a terminal."""
    text = _TerminalText()
    with redirect_stdout(text):
        say()
    return text.getvalue()


def redraw(say: Callable[[], None], seconds: float = SECONDS, ended: threading.Event | None = None) -> None:
    """Show what a function prints, and again every few seconds, until Ctrl-C or until `ended` is set."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    def frame() -> Group:
        body = Text.from_ansi(printed(say))
        return Group(Text(f"{datetime.now(UTC):%H:%M:%S} UTC, Ctrl-C to end\n", style="dim"), body)

    ended = ended or threading.Event()
    with suppress(KeyboardInterrupt), Live(frame(), screen=True, auto_refresh=False) as live:
        while not ended.wait(seconds):
            live.update(frame(), refresh=True)
