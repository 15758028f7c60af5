from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

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
