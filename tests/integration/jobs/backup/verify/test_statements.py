"""The team's own SQL in a verification: what it finds, what it may do, and how long."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import InsufficientPrivilege

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore.temporary_role import reading_role
from jobs.backup.verify import statements
from jobs.backup.verify.statements import StatementRows, run_statements
from tests.parts.crew import CrewResult, Repository
from tests.parts.needs import majors
from tests.parts.postgres import Database

Shop = Callable[..., Database]

# Statistics call the function, which fails if they are made from a small sample.
STATISTICS = """
CREATE FUNCTION sampled(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
    IF current_setting('default_statistics_target') = '1' THEN RAISE 'small sample'; END IF;
    RETURN n;
END $$;
CREATE TABLE numbers AS SELECT generate_series(1, 300) n;
CREATE STATISTICS of_numbers ON sampled(n) FROM numbers;
"""


def test_rows_of_a_script_fail_a_verification(repository: Repository, shop: Shop) -> None:
    database = shop(15)
    database.run(
        "CREATE SCHEMA app CREATE TABLE paid (id int, note text)",
        "ALTER TABLE app.paid ENABLE ROW LEVEL SECURITY",
        "INSERT INTO app.paid SELECT n, E'a secret\\x1b[31m' FROM generate_series(1, 7) n",
        f'ALTER DATABASE "{database.name}" SET search_path = app, public',
    )
    repository.environment(text=f'{repository.section("shop", database)}verify_with = "verify/shop.sql"\n')
    script = repository.root / "inventories/verify/shop.sql"
    missing = repository.crew("run", "verify", "staging")
    assert "databases.shop.verify_with: file verify/shop.sql beside this file does not exist" in missing.err
    script.parent.mkdir()
    script.write_text("-- Each order has a customer.\nSELECT id FROM orders WHERE customer IS NULL;")
    taken = repository.backup()

    def verify() -> CrewResult:
        return repository.crew("backups", "verify", "staging", "shop", "--set", taken)

    ended = verify()
    assert (ended.code, list(repository.results(taken))) == (0, ["passed"]), ended
    script.write_text("SELECT 1 WHERE current_setting('is_superuser') = 'on'; SELECT * FROM paid; SELECT 'x' AS y;")
    ended = verify()
    assert ended.code == 2, ended
    lines = [line.split() for line in ended.out.splitlines()[1:]]
    assert ["statement", "2", "of", "verify/shop.sql", "0", "7"] in lines
    assert ["statement", "3", "of", "verify/shop.sql", "0", "1"] in lines
    assert ended.out.count("a secret") == statements.ROWS_SHOWN
    assert "a secret" not in ended.err
    assert "\x1b" not in ended.err + ended.out
    assert "a secret" not in "".join(file.read_text() for file in repository.store.glob("*/runs/**/*.json"))
    script.write_text("SELECT 1 WHERE false; DELETE FROM paid; SELECT 2")
    ended = verify()
    assert ended.code == 1, ended
    refused = "verify_with: statement 2 of verify/shop.sql failed: cannot execute DELETE in a read-only transaction"
    assert refused in ended.out + ended.err


@majors(13, 15)
def test_the_role_of_a_script_reads_everything_and_leaves_nothing(
    database: Callable[[int], Database], major: int
) -> None:
    shop = database(major)
    shop.run(
        'CREATE SCHEMA "a b" CREATE TABLE orders (id int)',
        'INSERT INTO "a b".orders VALUES (1)',
        'ALTER TABLE "a b".orders ENABLE ROW LEVEL SECURITY',
    )
    into = Endpoint({key: str(value) for key, value in conninfo_to_dict(shop.url).items()}, shop.password)
    with reading_role(into) as role, role.endpoint(into).connect(autocommit=True) as connection:
        assert connection.execute('SELECT id FROM "a b".orders').fetchall() == [(1,)]
        with pytest.raises(InsufficientPrivilege):
            connection.execute('DELETE FROM "a b".orders')
    assert shop.ask(f"SELECT rolname FROM pg_roles WHERE rolname = '{role.name}'") == []


def test_rows_are_counted_and_the_time_is_limited(database: Callable[[int], Database]) -> None:
    def run(sql: str, seconds: float = 60) -> list[StatementRows]:
        with database(18).connect() as connection:
            return run_statements(connection, sql, "x.sql", timedelta(seconds=seconds), lambda: None)

    assert run("") == []
    assert run("SELECT 1 WHERE false; SET work_mem = '4MB'; SELECT n FROM generate_series(1, 20000) n; SELECT;") == [
        StatementRows(3, 20000, ("n=1", "n=2", "n=3", "n=4", "n=5")),
        StatementRows(4, 1, ("",)),
    ]
    with pytest.raises(BackupError, match=r"x\.sql took longer than 0\.2 s; raise limits\.verify_with"):
        run("SET statement_timeout = 0; SELECT pg_sleep(60)", 0.2)
    with pytest.raises(BackupError, match=r"statement 2 of x\.sql failed: COPY needs a client"):
        run("SELECT 1 WHERE false; COPY (SELECT 1) TO STDOUT")


def test_only_a_script_needs_statistics_from_many_rows(repository: Repository, database: Shop) -> None:
    numbers = database(15)
    numbers.run(STATISTICS)
    script = repository.root / "verify.sql"
    script.write_text("SELECT 'no statistics' WHERE NOT EXISTS (SELECT FROM pg_stats WHERE tablename = 'numbers')")
    repository.environment(text=repository.section("shop", numbers, f'verify_with = "{script}"\n'))
    taken = repository.backup()
    verified = repository.crew("backups", "verify", "staging", "shop", "--set", taken)
    assert verified.code == 0, verified
    repository.environment(text=repository.section("shop", numbers))
    failed = repository.crew("backups", "verify", "staging", "shop", "--set", taken)
    assert (failed.code, "small sample" in failed.err) == (1, True), failed
