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
