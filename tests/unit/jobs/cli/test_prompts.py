"""Prompts end when the run is stopped, hide passwords, and confirm changes to protected environments."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.cli.arguments import WrongUsage
from jobs.cli.prompts import confirm, confirm_protected, prompt, read_line
from jobs.run.job import Failed
from jobs.run.stop import Stop, Stopped
from tests.parts.patience import until


class TestReadLine:
    @pytest.fixture
    def keyboard(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
        """The file descriptor that stdin reads from."""
        reader, writer = os.pipe()
        with os.fdopen(reader) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            yield writer

    def test_returns_a_line(self, keyboard: int) -> None:
        threading.Timer(0.2, os.write, (keyboard, b" production \n")).start()
        assert read_line(Stop().check) == "production"
        os.close(keyboard)

    def test_end_of_input_is_an_empty_answer(self, keyboard: int) -> None:
        os.close(keyboard)
        assert read_line(Stop().check) == ""

    def test_ends_when_the_run_is_stopped(self, keyboard: int) -> None:
        stop = Stop()
        threading.Timer(0.2, stop.request, ("stopped by SIGINT",)).start()
        with pytest.raises(Stopped, match="stopped by SIGINT"):
            read_line(stop.check)
        os.close(keyboard)


def type_when_hidden(controller: int, line: bytes) -> None:
    until(lambda: not termios.tcgetattr(controller)[3] & termios.ECHO)
    os.write(controller, line)


def test_a_password_is_not_echoed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    controller, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        threading.Thread(target=type_when_hidden, args=(controller, b"hush\n")).start()
        assert prompt("Password for ada", hidden=True) == "hush"
        assert capsys.readouterr().err == "Password for ada: \n"
        os.write(controller, b"shown\n")
        assert read_line(Stop().check) == "shown"
        echoed = os.read(controller, 100)
    os.close(controller)
    assert b"shown" in echoed
    assert b"hush" not in echoed


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], object]]:
    """Types an answer on a terminal."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda line: os.write(controller, f"{line}\n".encode())
    os.close(controller)


class TestConfirm:
    def test_the_option_asks_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        confirm("destroy it", "not destroyed", yes=True)

    def test_without_a_terminal_the_error_names_the_option(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Path(os.devnull).open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with pytest.raises(WrongUsage, match="To destroy it, add --yes"):
                confirm("destroy it", "not destroyed", yes=False)

    def test_yes_confirms(self, answer: Callable[[str], object], capsys: pytest.CaptureFixture[str]) -> None:
        answer("yes")
        confirm("destroy it", "not destroyed", yes=False)
        assert capsys.readouterr().err == "To destroy it, type yes: "

    @pytest.mark.parametrize("line", ["y", ""])
    def test_anything_else_does_not(self, answer: Callable[[str], object], line: str) -> None:
        answer(line)
        with pytest.raises(Failed, match="not destroyed: the answer was not yes"):
            confirm("destroy it", "not destroyed", yes=False)


class TestConfirmProtected:
    @staticmethod
    def confirm(yes_to: str | None = None) -> None:
        confirm_protected(
            "production", "production is protected", "remove backup sets", "nothing was removed", yes_to=yes_to
        )

    def test_yes_to_the_environment_asks_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", None)
        self.confirm("production")

    @pytest.mark.parametrize("yes_to", [None, "staging"])
    def test_without_a_terminal_the_error_names_the_option(
        self, yes_to: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Path(os.devnull).open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with pytest.raises(WrongUsage) as raised:
                self.confirm(yes_to)
        assert str(raised.value) == ("production is protected. To remove backup sets anyway, add --yes-to production.")

    def test_the_name_confirms(self, answer: Callable[[str], object], capsys: pytest.CaptureFixture[str]) -> None:
        answer("production")
        self.confirm()
        question = "production is protected. To remove backup sets anyway, type the environment's name: "
        assert capsys.readouterr().err == question

    def test_anything_else_does_not(self, answer: Callable[[str], object]) -> None:
        answer("yes")
        with pytest.raises(Failed, match="nothing was removed: the answer was not production"):
            self.confirm()

    @pytest.mark.usefixtures("answer")
    def test_a_stopped_run_does_not(self) -> None:
        stop = Stop()
        stop.request("stopped by SIGINT")
        with pytest.raises(Failed, match="nothing was removed: stopped by SIGINT"):
            confirm_protected("a", "a is protected", "do it", "nothing was removed", yes_to=None, check=stop.check)
