"""`crew status --watch`: what it prints is redrawn with its colours, until Ctrl-C."""

from __future__ import annotations

import sys
import threading

import pytest

from jobs.cli import output, watching
from tests.unit.jobs.cli.conftest import Crew, Write, databases


def test_what_is_redrawn_has_the_colours_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert watching.printed(lambda: output.say("failed", output.BAD)) == "\x1b[31m\x1b[1mfailed\x1b[0m\n"
    assert not sys.stdout.isatty()


def test_it_draws_again_until_it_ends() -> None:
    ended, frames = threading.Event(), list[int]()

    def say() -> None:
        frames.append(len(frames))
        if len(frames) == 3:
            ended.set()

    watching.redraw(say, 0.01, ended)
    assert frames == [0, 1, 2]


@pytest.mark.usefixtures("count")
def test_it_needs_a_terminal(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    result = crew("status", "--watch")
    assert (result.code, "--watch redraws a terminal" in result.err) == (64, True)
