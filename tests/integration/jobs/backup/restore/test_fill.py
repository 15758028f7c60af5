"""Fill a database from a backup set, and end with the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.parts.crew import Repository
from tests.parts.patience import until
from tests.parts.postgres import Database

# Building an index on this function takes minutes, except in the database that is backed up.
SLOW = """
CREATE FUNCTION slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_database() <> '{origin}' THEN PERFORM pg_catalog.pg_sleep(300); END IF;
    RETURN n;
END $$;
CREATE TABLE one AS SELECT 1 n;
CREATE TABLE two AS SELECT 2 n;
CREATE INDEX ON one (slow(n));
CREATE INDEX ON two (slow(n));
"""


@pytest.fixture
def target(database: Callable[..., Database]) -> Database:
    return database(16)


def programs(database: Database) -> Iterator[list[str]]:
    """Yield the command lines that name a database."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            line = file.read_text().rstrip("\0").split("\0")
            if any(f"dbname={database.name}" in word for word in line):
                yield line


def test_all_processes_of_pg_restore_end_when_the_runner_is_killed(
    repository: Repository, database: Callable[..., Database], target: Database
) -> None:
    origin = database(16)
    origin.run(SLOW.format(origin=origin.name))
    repository.environment(text=repository.section("shop", origin, "parallel = 2"))
    repository.backup()
    password = f"file:{repository.password(target)}"
    running = repository.start(
        "backups", "restore", "staging", "shop", "--into", target.url, "--password-from", password, "--parallel", "2"
    )
    indexing = (
        "SELECT pid FROM pg_stat_activity "
        f"WHERE datname = '{target.name}' AND query LIKE 'CREATE INDEX%' AND state = 'active'"
    )
    try:
        until(lambda: len(origin.ask(indexing)) == 2)
    finally:
        running.kill()
        output = running.communicate()
    until(lambda: not list(programs(target)), seconds=3, saw=lambda: (list(programs(target)), output))
    until(lambda: not origin.ask(indexing), seconds=3)
