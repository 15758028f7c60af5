from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.registry import JOBS
from tests.parts.store import mark


@dataclass(frozen=True)
class Result:
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object that --json promises on stdout."""
        document: dict[str, Any] = json.loads(self.out)
        return document


Crew = Callable[..., Result]
Write = Callable[..., Path]


@pytest.fixture
def crew(capsys: pytest.CaptureFixture[str]) -> Crew:
    """Runs a command line in this process."""

    def run(*args: str) -> Result:
        code = cli.run_command_line(args)
        printed = capsys.readouterr()
        return Result(int(code), printed.out, printed.err)

    return run


HEAD = """
[environment]
name = "try"
timezone = "Europe/Berlin"
[store]
url = "file://{store}"
encrypt_to = "nobody"
sign_with = "nobody"
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes inventories/try.toml with a directory store and the given text, and changes to its repository."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)

    def writes(more: str = "", head: str = HEAD, name: str = "try") -> Path:
        path = tmp_path / "inventories" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(head.format(store=tmp_path / "store") + more)
        path.with_suffix("").write_text("servers = []\n")
        mark(tmp_path / "store", name)
        return path

    return writes


def databases(*names: str, more: str = "") -> str:
    """Return a [databases.NAME] section for each name."""
    return "".join(f'[databases.{name}]\nurl = "postgresql://nobody@127.0.0.1:1/{name}"\n{more}\n' for name in names)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the job `count` of tests/parts/work.py."""
    monkeypatch.setitem(JOBS, "count", "tests.parts.work:count")
