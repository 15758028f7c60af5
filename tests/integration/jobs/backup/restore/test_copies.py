"""Copies that restores create: their names, and which of them count as abandoned."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.postgres.copies import restoring_name
from jobs.backup.restore.target import drop_abandoned_copies
from tests.parts.crew import Repository
from tests.parts.patience import until
from tests.parts.postgres import Database, start

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
AUTOVACUUM = {"autovacuum": "on", "autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "100ms"}
SLOW = "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0"


class StoppedClock(datetime):
    """A clock that always shows the same second."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return NOW


def test_two_restores_of_one_second_get_different_copies(
    repository: Repository, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = database(16)
    target = Database(origin.server, f"{origin.name}_new")
    repository.environment(text=repository.section("shop", origin))
    repository.backup()
    database(16, restoring_name(target.name, NOW))
    monkeypatch.setattr("jobs.backup.restore.restore.datetime", StoppedClock)
    into = ("--into", target.url, "--create", "--password-from", f"file:{repository.password(target)}")
    ended = repository.crew("backups", "restore", "staging", "shop", *into)
    assert ended.code == 0, ended
    origin.run(f"DROP DATABASE {target.name}")


def test_two_verifications_of_one_second_get_different_databases(
    repository: Repository, database: Callable[..., Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = database(16)
    password = f'password = {{ file = "{repository.password(origin)}" }}\n'
    scratch = f'[verify]\nscratch = "{origin.server.url()}"\n{password}'
    repository.environment(text=repository.section("shop", origin) + scratch)
    repository.backup()
    database(16, restoring_name("groundcrew_verify", NOW))
    monkeypatch.setattr("jobs.backup.verify.verify.datetime", StoppedClock)
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 0, ended


def test_an_autovacuum_worker_does_not_keep_an_abandoned_copy(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with start(16, tmp_path, AUTOVACUUM) as server, server.connect() as connection:
        copy = Database(server, restoring_name("shop", NOW))
        connection.execute(f"CREATE DATABASE {copy.name}")
        copy.run(
            f"CREATE TABLE a WITH ({SLOW}) AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n",
            "DELETE FROM a",
        )
        workers = f"SELECT pid FROM pg_stat_activity WHERE datname = '{copy.name}' AND backend_type ~ 'autovacuum'"
        until(lambda: connection.execute(workers).fetchall(), 30)
        assert drop_abandoned_copies(connection, "shop", NOW + timedelta(days=1)) == [copy.name]
