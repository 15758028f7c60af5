from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.backups import Team, section, team
from tests.parts.crew import EXTENSIONS, SCHEMA, Repository
from tests.parts.postgres import Database


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository of the test's own."""
    tmp_path.chmod(0o755)
    return Repository(tmp_path)


@pytest.fixture
def shop(database: Callable[..., Database]) -> Callable[..., Database]:
    """`shop(15)` is a new database with one of everything."""

    def new(major: int, *, extensions: bool = False) -> Database:
        there = database(major)
        there.run(f"ALTER DATABASE {there.name} OWNER TO postgres", SCHEMA.read_text())
        if extensions:
            there.run(EXTENSIONS.read_text())
        return there

    return new


@pytest.fixture
def backs_up(tmp_path: Path) -> Callable[..., Team]:
    """`backs_up(database, "parallel = 2")` is a team whose environment has that one database, known as shop."""

    def new(database: Database, *lines: str, url: str = "", **store: object) -> Team:
        return team(tmp_path, section("shop", url or database.url, *lines), **store)  # type: ignore[arg-type]

    return new


@pytest.fixture
def small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of a test's size are worth a stream of their own."""
    monkeypatch.setattr("jobs.backup.take.parts.WORTH", 100_000)
