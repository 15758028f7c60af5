from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from jobs import cli
from jobs.registry import JOBS


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The one object that --json promises: nothing else is on stdout."""
        told: dict[str, Any] = json.loads(self.out)
        return told


Crew = Callable[..., Ended]


@pytest.fixture
def crew(capsys: pytest.CaptureFixture[str]) -> Crew:
    """The command line, in this process."""

    def run(*args: str) -> Ended:
        code = cli.answer(args)
        printed = capsys.readouterr()
        return Ended(int(code), printed.out, printed.err)

    return run


HEAD = """
[environment]
name = "try"
timezone = "Europe/Berlin"
[store]
url = "file://{store}"
encrypt_to = "nobody"
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes inventories/try.toml with a directory store, and whatever a test adds; the test is then inside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CREW_ROOT", raising=False)

    def writes(more: str = "", head: str = HEAD, name: str = "try") -> Path:
        path = tmp_path / "inventories" / f"{name}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(head.format(store=tmp_path / "store") + more)
        path.with_suffix("").write_text("servers = []\n")
        return path

    return writes


def databases(*names: str, more: str = "") -> str:
    return "".join(f'[databases.{name}]\nurl = "postgresql://nobody@127.0.0.1:1/{name}"\n{more}\n' for name in names)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own job beside the real ones."""
    monkeypatch.setitem(JOBS, "count", "tests.parts.work:count")
