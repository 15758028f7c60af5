"""Fill a database from a backup set, and end with the runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.jobs.backup.restore.test_restore import restore
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


@pytest.mark.parametrize(
    "options",
    [
        ("--parallel", "1"),
        ("--parallel", "4"),
        ("--tables", "visits", "--tables", "addresses", "--tables", "countries", "--tables", "branches"),
    ],
)
@pytest.mark.usefixtures("small_streams")
def test_a_check_that_reads_another_table_finds_its_rows(
    repository: Repository, database: Callable[..., Database], target: Database, options: tuple[str, ...]
) -> None:
    """The big tables have parts of their own. Restored first or at the same time, they would break the check."""
    origin = database(16)
    origin.run(
        "CREATE TABLE countries (code int PRIMARY KEY)",
        "CREATE FUNCTION is_country(wanted int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS "
        "$$ BEGIN RETURN EXISTS (SELECT FROM public.countries WHERE code = wanted); END $$",
        "CREATE DOMAIN country AS int CHECK (is_country(VALUE))",
        "CREATE TABLE addresses (a text, code int CHECK (is_country(code)))",
        "CREATE TABLE branches (a text, code country)",
        "INSERT INTO countries VALUES (1), (2)",
        "INSERT INTO addresses SELECT md5(n::text), 1 + n % 2 FROM generate_series(1, 3000) n",
        "INSERT INTO branches SELECT md5(n::text), 1 + n % 2 FROM generate_series(1, 3000) n",
        "CREATE FUNCTION has_address(wanted int) RETURNS boolean LANGUAGE sql AS "
        "'SELECT EXISTS (SELECT FROM public.addresses WHERE code = wanted)'",
        "CREATE TABLE visits (code int CHECK (has_address(code)))",
        "INSERT INTO visits VALUES (1), (2)",
    )
    repository.environment(text=repository.section("shop", origin, "parallel = 3"))
    repository.backup()
    code, output = restore(repository, target, *options)
    assert code == 0, output
    assert target.ask("SELECT count(*) FROM visits") == [(2,)]
    assert target.ask("SELECT count(*) FROM addresses NATURAL JOIN countries") == [(3000,)]
    shown = repository.crew("backups", "show", "staging", "shop", "--json").out
    assert "rows-1-1" in shown
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified
