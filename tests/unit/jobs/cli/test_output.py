"""JSON for machines, with secrets redacted."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys

import pytest

from inventories import hide
from jobs.cli import output


def on_terminal(script: str, **variables: str) -> str:
    """Return what a script prints to a terminal of 80 columns that shows colours."""
    controller, terminal = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80", **variables}
    subprocess.run(
        [sys.executable, "-c", f"from jobs.cli import output\n{script}"], env=environment, stdout=terminal, check=True
    )
    printed = os.read(controller, 100_000).decode().replace("\r\n", "\n")
    os.close(controller)
    os.close(terminal)
    return printed


LINES = """
output.say("two problems", output.BAD)
output.say("quiet", output.QUIET)
output.table([(output.Cell("failed", output.BAD), "shop")], ("state", "name"))
"""


def test_a_terminal_gets_colours() -> None:
    assert on_terminal(LINES).count("\x1b[") > 3


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_escapes_where_they_are_not_wanted(variables: dict[str, str]) -> None:
    assert on_terminal(LINES, **variables) == "two problems\nquiet\nstate   name\nfailed  shop\n"


def test_an_id_never_wraps() -> None:
    set_id = "20261120T020000Z-4f1c2a"
    row = ("a-database-with-a-long-name", set_id, "12 d", "1.2 GB", "12 min", "not yet", "before-migration", "newest")
    printed = on_terminal(f"output.table([{row}, {row}])", TERM="dumb")
    assert printed.count(set_id) == 2
    assert max(map(len, printed.splitlines())) <= 80


def test_what_has_no_room_goes_below_its_row_and_no_word_breaks() -> None:
    sentence = "set 20261129T205232Z-2c9f is verified: restored in 4.6 s into embedded PostgreSQL 16.14 on this machine"
    row = ("done", "verify", "a-database-with-a-long-name", "20261129T205314Z-6e1462", sentence)
    printed = on_terminal(f"output.table([{row}], ('outcome', 'job', 'name', 'run', ''))", TERM="dumb")
    assert printed.splitlines() == [
        "outcome  job     name                         run",
        "done     verify  a-database-with-a-long-name  20261129T205314Z-6e1462",
        "    set 20261129T205232Z-2c9f is verified: restored in 4.6 s into embedded",
        "    PostgreSQL 16.14 on this machine",
    ]


@pytest.mark.parametrize("password", ["1", "1234", "true", "format", "\\", '"'])
def test_no_password_breaks_the_json(capsys: pytest.CaptureFixture[str], password: str) -> None:
    hide(password)
    output.print_json({"bytes": 1234567, "done": True, "text": f"is {password}", "log": [{"of": f"is {password}"}]})
    document = json.loads(capsys.readouterr().out)
    assert document == {"format": 1, "bytes": 1234567, "done": True, "text": "is ***", "log": [{"of": "is ***"}]}


def test_json_escapes_what_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x1b[31m \x9b2J \u202e \ud800 \U000e0001 é"
    output.print_json({"text": text})
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isprintable()
    assert json.loads(printed)["text"] == text
    assert "é" in printed


@pytest.mark.parametrize(
    ("terminal", "expected"),
    [(False, b"\x1b[31mred\x1b[0m \x1b[2J\xff\n"), (True, "red \\x1b[2J\ufffd\n".encode())],
    ids=["a pipe", "a terminal"],
)
def test_output_of_a_program_is_unchanged_in_a_pipe_and_harmless_on_a_terminal(
    terminal: bool, expected: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="utf-8")
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    output.pass_on(b"\x1b[31mred\x1b[0m \x1b[2J\xff\n", stream)
    stream.flush()
    assert written.getvalue() == expected
