from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.refresh import newest_verified, psql_command
from jobs.backup.sets.sets import Set
from tests.parts.sets import listed
from tests.parts.signing import TRUST


def backup_set(day: int, *, complete: bool = True, verified: bool = True) -> Set:
    started = datetime(2026, 11, day, tzinfo=UTC)
    return listed(started, environment="production", complete=complete, verified=started if verified else None)


def test_runs_the_script_in_one_transaction_and_stops_at_the_first_error() -> None:
    assert psql_command(ClientProgram("psql", "/bin/psql", "15.1"), "host=db dbname=copy", Path("/i/shop.sql")) == [
        "/bin/psql", "--no-psqlrc", "--no-password", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1",
        "--file=/i/shop.sql", "--dbname=host=db dbname=copy",
    ]  # fmt: skip


def test_uses_the_newest_set_that_is_complete_and_verified() -> None:
    sets = [backup_set(1), backup_set(2), backup_set(3, verified=False), backup_set(4, complete=False)]
    assert newest_verified(sets)[0] == backup_set(2)
    assert newest_verified([backup_set(3, verified=False)]) == []


def test_does_not_use_a_verified_set_that_failed_later() -> None:
    at = backup_set(2).started
    assert newest_verified([backup_set(1), listed(at, verified=at, failed=at + timedelta(hours=1))]) == [backup_set(1)]


def test_does_not_use_a_set_that_nobody_signed() -> None:
    assert newest_verified([backup_set(1), replace(backup_set(2), trust=TRUST)]) == [backup_set(1)]
