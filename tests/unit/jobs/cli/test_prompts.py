"""A question waits for its answer, and for nothing else once it is told to end."""

from __future__ import annotations

import os
import pty
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from jobs.cli.prompts import asked, typed
from jobs.run.stop import Stop, Stopped


class TestTyped:
    @pytest.fixture
    def keyboard(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        """What is written there is typed."""
        reader, writer = os.pipe()
        with os.fdopen(reader) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            yield writer

    def test_a_line(self, keyboard: int) -> None:
        threading.Timer(0.2, os.write, (keyboard, b" production \n")).start()
        assert typed(cast("Any", Stop())) == "production"
        os.close(keyboard)

    def test_the_end_is_no_answer(self, keyboard: int) -> None:
        os.close(keyboard)
        assert typed(cast("Any", Stop())) == ""

    def test_it_ends_at_once_when_it_is_told_to(self, keyboard: int) -> None:
        stop = Stop()
        threading.Timer(0.2, stop.tell, ("stopped by SIGINT",)).start()
        begun = time.monotonic()
        with pytest.raises(Stopped, match="stopped by SIGINT"):
            typed(cast("Any", stop))
        assert time.monotonic() - begun < 5
        os.close(keyboard)


def test_a_password_does_not_show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        threading.Timer(0.3, os.write, (ours, b"hush\n")).start()
        assert asked(cast("Any", Stop()), "Password for ada", hidden=True) == "hush"
        assert capsys.readouterr().err == "Password for ada: \n"
        os.write(ours, b"seen\n")
        assert typed(cast("Any", Stop())) == "seen"
        echoed = os.read(ours, 100)
    os.close(ours)
    assert (b"seen" in echoed, b"hush" in echoed) == (True, False)
