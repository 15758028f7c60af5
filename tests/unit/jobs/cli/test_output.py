"""JSON for machines, with secrets redacted."""

from __future__ import annotations

import json

import pytest

from inventories import hide
from jobs.cli import output


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
