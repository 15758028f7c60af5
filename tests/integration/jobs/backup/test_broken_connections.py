"""A connection that breaks after the snapshot was exported fails the attempt, and the run tries again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from jobs.backup.concurrent import Cancellation
from jobs.backup.postgres import counting
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.take import facts, snapshot, take
from jobs.run import RunTimeouts
from jobs.run.job import Outcome, Transient
from tests.parts.backups import Team
from tests.parts.postgres import Database

LOCK = timedelta(seconds=5)


@pytest.fixture
def shop(database: Callable[..., Database]) -> Database:
    return database(16)


def endpoint(shop: Database) -> Endpoint:
    return Endpoint({key: str(value) for key, value in conninfo_to_dict(shop.url).items()}, shop.password)


def terminate(shop: Database, connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """Break a connection at the server's end, and return it."""
    shop.ask(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")
    return connection


def test_between_the_snapshot_and_the_first_question(shop: Database) -> None:
    with (
        pytest.raises(Transient, match="terminating connection"),
        snapshot.export_snapshot(endpoint(shop), LOCK) as moment,
    ):
        terminate(shop, moment.connection).execute("SELECT 1")


def test_during_the_counts(shop: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("CREATE TABLE a (b int)")
    with snapshot.export_snapshot(endpoint(shop), LOCK) as moment:
        monkeypatch.setattr(
            counting, "copy_statement", lambda *_, **__: "SELECT pg_terminate_backend(pg_backend_pid())"
        )
        with pytest.raises(Transient, match="terminating connection"):
            facts.count_rows(Cancellation(), moment, standby=False)


def test_during_the_dump_although_every_part_ends_well(
    shop: Database, backs_up: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = take.dump_parts, []

    def dump_parts(run: Any, section: Any, plan: take.BackupPlan, *others: Any, **more: Any) -> Any:
        dumped = real(run, section, plan, *others, **more)
        if not broken:
            broken.append(terminate(shop, plan.snapshot.connection))
        return dumped

    monkeypatch.setattr(take, "dump_parts", dump_parts)
    staging = backs_up(shop)
    record = staging.take(timeouts=RunTimeouts(work_retries=(0.01,), store_retries=(0.01,)))
    assert (record.outcome, record.attempts) == (Outcome.DONE, 2), record.sentence
    assert [each.complete for each in staging.sets()].count(True) == 1
