"""A staging database is filled from production's newest verified set, and nobody ever sees what was not sanitised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psycopg
import pytest

from jobs.run.context import RunContext
from jobs.run.job import Failed
from tests.parts.crew import Repository
from tests.parts.postgres import Database, Server

SCRIPT = """
DO $$ BEGIN
  ASSERT (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) = 0, 'others could look in';
END $$;
UPDATE customers SET name = 'customer ' || id;
DELETE FROM letters;
"""


@pytest.fixture
def production(
    repository: Repository, database: Callable[..., Database], postgres: Callable[[int], Server]
) -> Iterator[Database]:
    """A protected environment with a verified backup of a database with names in it."""
    there = database(16)
    there.run(
        "CREATE TABLE customers AS SELECT n AS id, 'Real Name'::text AS name FROM generate_series(1, 500) n",
        "CREATE TABLE letters AS SELECT 'Dear Real Name'::text AS body FROM generate_series(1, 500) n",
        "CREATE ROLE refreshed_reader LOGIN PASSWORD 'of production alone'",
        "GRANT SELECT ON customers TO refreshed_reader",
    )
    repository.environment("production", repository.section("shop", there), protected=True)
    repository.backup("shop", "production")
    assert repository.crew("run", "verify", "production").code == 0
    yield there
    there.run("DROP OWNED BY refreshed_reader")
    for major in (16, 18):
        with postgres(major).connect() as server:
            server.execute("DROP ROLE IF EXISTS refreshed_reader")


@pytest.fixture
def staging(repository: Repository, production: Database, postgres: Callable[[int], Server]) -> Iterator[Database]:
    """The environment that is refreshed; its database does not exist yet."""
    there = Database(postgres(18), "refreshed")
    section = (
        f'[refresh.shop]\nfrom = "production/shop"\ninto = "{there.url}"\nsanitise = "shop.sql"\n'
        f'password = {{ file = "{repository.password(there)}" }}\n'
    )
    (repository.root / "inventories").mkdir(exist_ok=True)
    (repository.root / "inventories/shop.sql").write_text(SCRIPT)
    repository.environment("staging", section)
    yield there
    with there.server.connect() as server:
        for name in databases(there.server):
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def databases(server: Server) -> list[str]:
    with server.connect() as there:
        found = there.execute("SELECT datname FROM pg_database WHERE datname LIKE 'refreshed%' ORDER BY 1").fetchall()
        return [name for (name,) in found]


def test_a_refresh_is_sanitised_and_keeps_what_is_its_own(
    repository: Repository, production: Database, staging: Database
) -> None:
    said = repository.crew("run", "refresh", "staging")
    assert said.code == 0, said
    assert staging.ask("SELECT DISTINCT name ~ '^customer ' FROM customers") == [(True,)]
    staging.run("ALTER DATABASE refreshed SET work_mem = '7MB'", "REVOKE CONNECT ON DATABASE refreshed FROM PUBLIC")
    names = watched(staging, lambda: repository.crew("run", "refresh", "staging").code)
    assert names == {"customer 1"}, "at no moment anything else stood under its name"
    assert staging.ask("SHOW work_mem") == [("7MB",)]
    assert staging.ask("SELECT datconnlimit FROM pg_database WHERE datname = 'refreshed'") == [(-1,)]
    assert staging.ask("SELECT has_database_privilege('refreshed_reader', 'refreshed', 'CONNECT')") == [(False,)]
    assert staging.ask("SELECT count(*) FROM pg_stats WHERE most_common_vals::text LIKE '%Real%'") == [(0,)]
    assert staging.ask("SELECT n_distinct FROM pg_stats WHERE attname = 'name'") == [(-1.0,)]
    assert staging.ask("SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = 'refreshed_reader'") == [
        (False, None)
    ]
    assert len(databases(staging.server)) == 2
    assert repository.crew("run", "refresh", "staging").code == 0
    assert len(databases(staging.server)) == 2, "only the last one is kept"


def watched(database: Database, meanwhile: Callable[[], int]) -> set[str]:
    """What somebody who asks again and again sees while something else goes on."""
    done, seen = threading.Event(), set()

    def ask() -> None:
        while not done.is_set():
            try:
                seen.update(name for (name,) in database.ask("SELECT name FROM customers WHERE id = 1"))
            except psycopg.Error:
                continue

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        assert meanwhile() == 0
    finally:
        done.set()
        asking.join()
    return seen


def test_a_script_that_fails_leaves_no_copy(repository: Repository, production: Database, staging: Database) -> None:
    for script, why in (
        ("UPDATE customers SET nam = 'x';", 'column "nam" of relation "customers" does not exist'),
        ("UPDATE customers SET name = 'x';\nSELECT 1/0;", "division by zero"),
    ):
        (repository.root / "inventories/shop.sql").write_text(script)
        ended = repository.crew("run", "refresh", "staging")
        assert ended.code == 1
        assert why in ended.out
        assert databases(staging.server) == []


def test_whichever_step_fails_what_stood_there_stays_and_no_copy(
    repository: Repository, production: Database, staging: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with staging.server.connect() as server:
        server.execute("CREATE DATABASE refreshed")
    staging.run("CREATE TABLE customers AS SELECT 'of before' AS name")
    for failing in ("definitions", "rows", "indexes and constraints", "check", "sanitise", "statistics", "swap"):
        with monkeypatch.context() as patched:
            patched.setattr(RunContext, "step", failing_at(failing))
            ended = repository.crew("run", "refresh", "staging")
        assert (ended.code, f"{failing} failed" in ended.out) == (1, True), ended
        assert databases(staging.server) == ["refreshed"]
        assert staging.ask("SELECT name FROM customers") == [("of before",)]


def failing_at(name: str) -> Callable[..., AbstractContextManager[None]]:
    """A step that fails once it is done; the swap, which can't be taken back, before it begins."""
    real = RunContext.step

    @contextmanager
    def step(run: RunContext, called: str) -> Iterator[None]:
        if called == name == "swap":
            raise Failed(f"{name} failed")
        with real(run, called):
            yield
        if called == name:
            raise Failed(f"{name} failed")

    return step


def test_only_what_is_verified_is_handed_on(repository: Repository, production: Database, staging: Database) -> None:
    verified = repository.crew("run", "refresh", "staging", "--dry-run").out
    newer = repository.backup("shop", "production")
    again = repository.crew("run", "refresh", "staging", "--dry-run").out
    assert newer not in again
    assert "would fill it from set" in again
    assert verified.split()[-3:] == again.split()[-3:]
    for verification in repository.store.glob("production/backups/shop/*/verified.json"):
        verification.unlink()
    ended = repository.crew("run", "refresh", "staging")
    assert ended.code == 1
    assert "crew backups verify production shop" in ended.out


def test_what_is_protected_is_not_refreshed(repository: Repository, production: Database, staging: Database) -> None:
    file = repository.root / "inventories/staging.toml"
    text = file.read_text()
    file.write_text(text.replace("protected = false", "protected = true"))
    ended = repository.crew("run", "refresh", "staging")
    assert (ended.code, "staging is protected" in ended.out) == (1, True)
    file.write_text(text.replace(staging.url, production.server.socket_url(production.name)))
    ended = repository.crew("run", "refresh", "staging")
    assert (ended.code, "belongs to production, which is protected" in ended.out) == (1, True)
    assert production.ask("SELECT DISTINCT name FROM customers") == [("Real Name",)]
