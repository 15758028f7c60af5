from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.backups import Team, section, team
from tests.parts.crew import EXTENSIONS, SCHEMA, Repository
from tests.parts.postgres import Database


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository for this test."""
    tmp_path.chmod(0o755)
    return Repository(tmp_path)


@pytest.fixture
def shop(database: Callable[..., Database]) -> Callable[..., Database]:
    """`shop(15)` returns a new database with one object of each kind."""

    def new(major: int, *, extensions: bool = False) -> Database:
        created = database(major)
        created.run(f"ALTER DATABASE {created.name} OWNER TO postgres", SCHEMA.read_text())
        if extensions:
            created.run(EXTENSIONS.read_text())
        return created

    return new


@pytest.fixture
def backs_up(tmp_path: Path) -> Callable[..., Team]:
    """`backs_up(database, "parallel = 2")` returns a team whose environment has this database, named shop."""

    def new(database: Database, *lines: str, url: str = "", **store: object) -> Team:
        return team(tmp_path, section("shop", url or database.url, *lines), **store)  # type: ignore[arg-type]

    return new


@pytest.fixture
def small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the small tables of a test get their own part."""
    monkeypatch.setattr("jobs.backup.take.parts.MIN_TABLE_BYTES", 100_000)
