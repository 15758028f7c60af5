"""A bug in one stack: the outcomes of the other stacks are still printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from terraform.errors import StackError
from tests.unit.jobs.cli.conftest import HEAD, Crew, Write

STACKS = "".join(f"[stacks.{name}]\n" for name in ("backups", "network"))
STATE = '[terraform]\nstate = { bucket = "acme", region = "eu-central-1", lock_table = "locks" }\n'


@pytest.fixture(autouse=True)
def two_stacks(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def open_stack(_environment: object, name: str, *_: object) -> None:
        raise IndexError("a bug") if name == "backups" else StackError("try/network: is unreachable")

    write(STATE + STACKS, head=HEAD.replace('name = "try"', 'name = "try"\nprotected = true'))
    monkeypatch.setattr("jobs.stacks.execution.open_stack", open_stack)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.mark.parametrize(
    "command",
    [
        ("stacks", "plan", "try"),
        ("stacks", "apply", "try", "--yes-to", "try"),
        ("stacks", "destroy", "try", "--yes-to", "try"),
        ("drift", "try"),
    ],
)
def test_as_text(crew: Crew, command: tuple[str, ...]) -> None:
    result = crew(*command)
    assert result.code == 1, result
    assert "Bug in crew: IndexError: a bug." in result.out
    assert "is unreachable" in result.out


@pytest.mark.parametrize("command", [("stacks", "plan"), ("drift",)])
def test_as_json(crew: Crew, command: tuple[str, ...]) -> None:
    result = crew(*command, "try", "--json")
    assert result.code == 1, result
    assert "Bug in crew: IndexError: a bug." in str(result.json)
    assert "is unreachable" in str(result.json)
