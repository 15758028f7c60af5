"""What a server says about rows appears in no error, log or run record: rows would go out with every alert."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from jobs.backup.errors import BackupError
from jobs.backup.postgres.connection import translated_errors
from tests.parts.crew import CrewResult, Repository
from tests.parts.postgres import Database

SECRET = "anna@example.org"  # a value in a row


@pytest.fixture
def shop(database: Callable[..., Database]) -> Database:
    """A database that cannot be restored: a check of one table needs rows of another."""
    created = database(16)
    created.run(
        "CREATE TABLE allowed AS SELECT 1 AS id",
        "CREATE FUNCTION is_allowed(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 IN (SELECT id FROM public.allowed)'",
        "CREATE TABLE aa_customers (id int CHECK (is_allowed(id)), email text UNIQUE)",
        f"INSERT INTO aa_customers VALUES (1, '{SECRET}')",
        "DELETE FROM allowed",
    )
    return created


def require_no_rows(repository: Repository, ended: CrewResult, why: str) -> None:
    records = [path.read_text() for path in repository.store.glob("*/runs/**/*") if path.is_file()]
    assert ended.code == 1, ended
    assert why in ended.out + ended.err, ended
    assert not [text for text in (ended.out, ended.err, *records) if SECRET in text]


def test_a_row_that_cannot_be_restored(repository: Repository, shop: Database) -> None:
    repository.environment("staging", repository.section("shop", shop))
    repository.backup()
    require_no_rows(repository, repository.crew("run", "verify", "staging"), "violates check constraint")
    into = ("--into", shop.server.url("not_created"), "--password-from", f"file:{repository.root}/password")
    restored = repository.crew("backups", "restore", "staging", "shop", *into, "--create")
    require_no_rows(repository, restored, "violates check constraint")


def test_a_query_of_ours_that_fails(shop: Database) -> None:
    shop.run("INSERT INTO allowed VALUES (1)")
    with pytest.raises(BackupError) as raised, translated_errors(), shop.connect() as connection:
        connection.execute(f"INSERT INTO aa_customers VALUES (1, '{SECRET}')")
    assert str(raised.value) == 'duplicate key value violates unique constraint "aa_customers_email_key"'
