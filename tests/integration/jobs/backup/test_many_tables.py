"""A database with more tables than its server has room for two locks each."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.concurrent import Cancellation
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.take import facts, snapshot, take
from jobs.run import RunTimeouts
from jobs.run.job import Outcome
from tests.parts.backups import Team, section, team
from tests.parts.postgres import Database, Server, fresh, start

TABLES = 400
LOCK = timedelta(seconds=5)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that promises 280 locks and has about 600: enough for pg_dump, not for two sessions."""
    folder = tmp_path_factory.mktemp("tight")
    with start(16, folder, {"max_locks_per_transaction": "14", "max_connections": "20"}) as tight:
        yield tight


@pytest.fixture
def crowded(server: Server) -> Iterator[Database]:
    with fresh(server, "crowded") as database:
        for first in range(0, TABLES, 200):
            database.run(
                f"DO $$ BEGIN FOR n IN {first}..{first + 199} LOOP "
                "EXECUTE format('CREATE TABLE t%s AS SELECT 1 a', n); END LOOP; END $$"
            )
        yield database


@pytest.fixture
def staging(crowded: Database, tmp_path: Path) -> Team:
    return team(tmp_path, section("shop", crowded.url))


def endpoint(database: Database) -> Endpoint:
    return Endpoint({key: str(value) for key, value in conninfo_to_dict(database.url).items()}, database.password)


def test_each_table_is_locked_once(staging: Team, crowded: Database) -> None:
    most = 0
    with ThreadPoolExecutor() as pool, crowded.connect() as other:
        taking = pool.submit(staging.take)
        while not taking.done():
            [(locks,)] = other.execute("SELECT count(*) FROM pg_locks WHERE relation::regclass::text ~ '^t[0-9]+$'")
            most = max(most, locks)
        record = taking.result()
    assert record.outcome is Outcome.DONE, record.sentence
    assert staging.description().rows == TABLES
    assert TABLES <= most <= TABLES + facts.TABLES_PER_QUERY


def test_a_table_truncated_before_pg_dump_locks_it_fails_the_attempt(
    staging: Team, crowded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot no longer sees its rows, so pg_dump would store an empty table."""
    real, planned = take.plan_backup, []

    def plan_backup(*args: Any) -> take.BackupPlan:
        if not planned:
            crowded.run("TRUNCATE t7", "INSERT INTO t7 VALUES (1), (2)")
        planned.append(real(*args))
        return planned[-1]

    monkeypatch.setattr(take, "plan_backup", plan_backup)
    record = staging.take(timeouts=RunTimeouts(work_retries=(0.01,), store_retries=(0.01,)))
    assert (record.outcome, record.attempts) == (Outcome.DONE, 2), record.sentence
    assert [table.rows for table in staging.description().tables if table.name == "t7"] == [2]


def test_a_table_that_another_session_changes_is_not_counted(crowded: Database) -> None:
    with (
        snapshot.export_snapshot(endpoint(crowded), LOCK) as exported,
        crowded.connect() as other,
    ):
        crowded.run("TRUNCATE t7", "DROP TABLE t8")
        other.execute("BEGIN; ALTER TABLE t9 ADD b int")
        counts = facts.count_rows(Cancellation(), exported, standby=False)
        other.execute("ROLLBACK")
    uncounted = [table.name for table in exported.tables if table.oid not in counts]
    assert uncounted == ["t7", "t8", "t9"]
    assert set(counts.values()) == {1}


def test_a_server_without_enough_room_is_reported_before_the_dump(
    staging: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "_SPARE_LOCKS", -1000)
    record = staging.take(timeouts=RunTimeouts(work_retries=(0.01,), store_retries=(0.01,)))
    assert (record.outcome, record.attempts) == (Outcome.FAILED, 1)
    assert "pg_dump locks each of its 400 tables and sequences, and the server has room for about 280 locks" in (
        record.sentence
    )
    assert "set max_locks_per_transaction = 2" in record.sentence


def test_a_dump_that_runs_out_of_locks_is_not_retried(staging: Team, crowded: Database) -> None:
    crowded.run(*(f"CREATE TABLE more{number} (a int)" for number in range(1000)))
    record = staging.take(timeouts=RunTimeouts(work_retries=(0.01,), store_retries=(0.01,)))
    assert (record.outcome, record.attempts) == (Outcome.FAILED, 1)
    assert "the server has no room for more locks: raise max_locks" in record.sentence
