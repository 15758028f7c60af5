"""An index calls a function that its owner replaced. Backups, restores and refreshes count rows without calling it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.concurrent import Cancellation
from jobs.backup.errors import BackupError
from jobs.backup.postgres import counting
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.take import facts, snapshot
from tests.parts import postgres as servers
from tests.parts.crew import CrewResult, Repository
from tests.parts.needs import majors
from tests.parts.postgres import PASSWORD, Database, Server

ROLES = (
    f"CREATE ROLE owner LOGIN PASSWORD '{PASSWORD}'",
    f"CREATE ROLE backup LOGIN BYPASSRLS PASSWORD '{PASSWORD}'",
    "CREATE DATABASE shop OWNER owner",
)
HOSTILE = (
    "CREATE SCHEMA s",
    "CREATE FUNCTION s.spy() RETURNS integer LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE LOG 'spy runs as %', current_user; RETURN 1; END $$",
    "CREATE FUNCTION s.constant(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
    "CREATE TABLE s.indexed (text text, id integer, twice integer GENERATED ALWAYS AS (id * 2) STORED)",
    "INSERT INTO s.indexed SELECT 'x', generate_series(1, 100)",
    "CREATE INDEX ON s.indexed ((s.constant(1) + id))",
    "CREATE TABLE s.parent (id integer)",
    "CREATE TABLE s.child () INHERITS (s.parent)",
    "INSERT INTO s.child VALUES (1), (2)",
    "CREATE TABLE s.empty ()",
    "INSERT INTO s.empty DEFAULT VALUES",
    "CREATE TABLE s.described (id integer)",
    "INSERT INTO s.described VALUES (1)",
)
STATISTICS = "CREATE STATISTICS s.hostile ON (s.constant(1) + id), id FROM s.described"
REPLACED = (
    "CREATE OR REPLACE FUNCTION s.constant(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS "
    "$$ BEGIN RETURN s.spy(); END $$"
)
ROWS = {"child": 2, "described": 1, "empty": 1, "indexed": 100, "parent": 0}


@pytest.fixture
def server(tmp_path: Path, major: int) -> Iterator[Server]:
    """A server of this test's own with a hostile owner of a database."""
    tmp_path.chmod(0o755)
    with servers.start(major, tmp_path) as started:
        with started.connect() as connection:
            for statement in ROLES:
                connection.execute(statement.encode())
        with as_owner(started) as connection:
            for statement in (*HOSTILE, *((STATISTICS,) if major > 13 else ()), "ANALYZE", REPLACED):
                connection.execute(statement.encode())
        yield started


def as_owner(server: Server) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(server.url("shop").replace("postgres@", "owner@"), password=PASSWORD, autocommit=True)


def victims(server: Server) -> set[str]:
    """Return the roles other than the owner that called the function."""
    return set(re.findall(r"LOG:  spy runs as (\w+)", server.log)) - {"owner"}


def done(ended: CrewResult) -> None:
    assert ended.code == 0, ended


@majors(13, 18)
def test_a_superuser_calls_no_function_of_the_owner(
    repository: Repository, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.backup.take.parts.MIN_TABLE_BYTES", 1)
    monkeypatch.setattr("jobs.backup.take.parts.MIN_SEGMENT_BYTES", 1)
    password = f"file:{repository.root}/password"
    repository.environment("production", repository.section("shop", Database(server, "shop"), "parallel = 9"))
    done(repository.crew("check", "production"))
    done(repository.crew("run", "backup", "production"))
    segments = repository.crew("backups", "show", "production", "shop", "--json").json["description"]["segments"]
    assert "indexed" in {segment["table"] for segment in segments.values()}
    done(repository.crew("run", "verify", "production"))
    role = ("--as", "owner", "--as-password-from", password)
    into = ("--into", server.url("restored"), "--password-from", password)
    done(repository.crew("backups", "restore", "production", "shop", *into, "--create", *role))

    (repository.root / "inventories/shop.sql").write_text("DELETE FROM s.parent")
    repository.environment(
        "staging",
        f'[refresh.shop]\nfrom = "production/shop"\ninto = "{server.url("refreshed")}"\nsanitise = "shop.sql"\n'
        f'password = {{ file = "{repository.root}/password" }}\nrestore_as = "owner"\n'
        f'restore_as_password = {{ file = "{repository.root}/password" }}\n',
    )
    done(repository.crew("run", "refresh", "staging"))
    assert victims(server) == set()
    with server.connect("shop") as connection:
        connection.execute("SELECT FROM s.indexed")
    assert victims(server) == {"postgres"}, "a query calls the function"


@majors(18)
def test_a_role_that_is_no_superuser_counts_the_same(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("GRANT pg_read_all_data TO backup")
    with as_owner(server) as connection:
        connection.execute("INSERT INTO s.parent SELECT generate_series(1, 50000)")
    assert counts(server, "backup") == {**ROWS, "parent": 50_000}
    assert counts(server, "postgres") == {**ROWS, "parent": 50_000}
    assert victims(server) == set()


@majors(18)
@pytest.mark.parametrize("rows", [1, 5000])
def test_an_error_between_rows_fails_the_count(server: Server, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    failing = f"COPY (SELECT 1 / (number - {rows}) FROM generate_series(1, 9000) number) TO STDOUT"
    monkeypatch.setattr(counting, "copy_statement", lambda *_, **__: failing)
    with server.connect() as connection:
        connection.execute("GRANT pg_read_all_data TO backup")
    with pytest.raises(BackupError, match="division by zero"):
        counts(server, "backup")


def counts(server: Server, role: str) -> dict[str, int]:
    """Count the rows in a snapshot, as a role."""
    with snapshot.export_snapshot(endpoint(server, role), timedelta(seconds=5)) as moment:
        found = facts.count_rows(Cancellation(), moment, standby=False)
        return {table.name: found[table.oid] for table in moment.tables if table.oid in found}


def endpoint(server: Server, role: str) -> Endpoint:
    url = server.url("shop").replace("postgres@", f"{role}@")
    return Endpoint({key: str(value) for key, value in conninfo_to_dict(url).items()}, PASSWORD)


@majors(13, 18)
def test_a_view_in_the_place_of_a_table_is_not_counted(server: Server) -> None:
    """A lock on a table does not keep its schema from being renamed."""
    with snapshot.export_snapshot(endpoint(server, "postgres"), timedelta(seconds=5)) as moment:
        with as_owner(server) as connection:
            connection.execute("ALTER SCHEMA s RENAME TO away")
            connection.execute("CREATE SCHEMA s")
            connection.execute("CREATE VIEW s.indexed AS SELECT away.spy() AS id, ''::text AS text")
        found = facts.count_rows(Cancellation(), moment, standby=False)
    assert found == {}
    assert victims(server) == set()
