"""Databases in the shape of well-known public ones survive backup, verification and restore without a loss."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.portrait import differences, portrait
from tests.parts.postgres import CLIENTS, DISTRIBUTION, Database, Server, fresh

SCHEMAS = {file.stem: file for file in sorted((Path(__file__).parents[3] / "parts/schemas").glob("*.sql"))}
OF_ONE_DUMP = "-- Dumped", "\\restrict", "\\unrestrict"


ROUND_TRIPS = [
    pytest.param(18, 18, marks=needs("postgres-18"), id="on-18"),
    *(
        pytest.param(major, major, marks=[needs(f"postgres-{major}"), pytest.mark.long], id=f"on-{major}")
        for major in sorted(DISTRIBUTION.keys() - {18})
    ),
    *(
        pytest.param(major, major, marks=[needs(f"postgres-{major}"), pytest.mark.release], id=f"on-{major}")
        for major in sorted({15, 16} - DISTRIBUTION.keys())
    ),
    pytest.param(15, 18, marks=[needs("postgres-15", "postgres-18"), pytest.mark.long], id="from-15-to-18"),
]


def definitions(database: Database) -> list[str]:
    """Return the lines of pg_dump --schema-only, without those that differ between two runs of it."""
    program = min(major for major in CLIENTS if major >= database.server.major)
    argv = [CLIENTS[program] / "pg_dump", "--schema-only", database.url]
    dumped = subprocess.run(argv, env=database.server.environment, capture_output=True, text=True, check=True)
    return [line for line in dumped.stdout.splitlines() if not line.startswith(OF_ONE_DUMP)]


def lost(original: Database, restored: Database) -> list[str]:
    """Return the differences between a database and its copy."""
    one, other = (portrait(each.url, password=each.password) for each in (original, restored))
    if original.server.major != restored.server.major:
        return differences(one, other, ignore={"views", "privileges"})
    before, after = definitions(original), definitions(restored)
    return [*differences(one, other), *(set(before) ^ set(after)), *([] if before == after else ["another order"])]


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize(("origin", "target"), ROUND_TRIPS)
def test_a_database_like_a_public_one_survives_a_round_trip(
    name: str, origin: int, target: int, repository: Repository, postgres: Callable[[int], Server]
) -> None:
    with ExitStack() as stack:
        original = stack.enter_context(fresh(postgres(origin), f"public_{name}"))
        original.run(SCHEMAS[name].read_text())
        repository.environment(text=repository.section("shop", original))
        repository.backup()
        verified = repository.crew("run", "verify", "staging")
        assert verified.code == 0, verified
        copy = stack.enter_context(fresh(postgres(target), f"public_{name}_again"))
        into = ("--into", copy.url, "--password-from", f"file:{repository.password(copy)}")
        restored = repository.crew("backups", "restore", "staging", "shop", *into, "--replace")
        assert restored.code == 0, restored
        assert lost(original, copy) == []
