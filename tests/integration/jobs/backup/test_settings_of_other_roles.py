"""Every role of a server can give itself settings in every database. They harm no backup and no restore of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.parts.crew import Repository
from tests.parts.postgres import Database, Server

LATIN = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"


@pytest.fixture
def server(postgres: Callable[..., Server]) -> Iterator[Server]:
    """A server with a role that owns nothing, a database in another encoding, and one with a name in it."""
    started = postgres(16)
    with started.connect() as connection:
        connection.execute("CREATE ROLE visitor LOGIN")
        connection.execute(f"CREATE DATABASE latin {LATIN}")
        Database(started, "latin").run(b'CREATE DATABASE "caf\xe9" TEMPLATE template0')
        yield started
        Database(started, "latin").run(b'DROP DATABASE "caf\xe9"')
        connection.execute("DROP DATABASE latin WITH (FORCE)")
        connection.execute("DROP ROLE visitor")


def test_settings_of_another_role_can_be_huge_or_in_another_encoding(
    repository: Repository, database: Callable[..., Database], server: Server
) -> None:
    shop, huge = database(16), "x" * (5 << 20)
    with Database(server, "latin").connect() as visitor:
        visitor.execute("SET SESSION AUTHORIZATION visitor")
        visitor.execute(b"ALTER ROLE visitor SET search_path = 'caf\xe9', 'public'")
        visitor.execute(f"ALTER ROLE visitor SET application_name = '{huge}'".encode())
        in_shop = f"ALTER ROLE visitor IN DATABASE {shop.name} SET".encode()
        visitor.execute(in_shop + b" search_path = 'caf\xe9', 'public'")
        visitor.execute(in_shop + f" application_name = '{huge}'".encode())
        visitor.execute(in_shop + b" work_mem = '5MB'")
    shop.run("CREATE TABLE t AS SELECT 1 AS a", f"COMMENT ON DATABASE {shop.name} IS '{huge}'")
    password = repository.password(shop)
    repository.environment(
        text=f'[servers.main]\nurl = "{server.url()}"\npassword = {{ file = "{password}" }}\nexclude = ["contrib*"]\n'
    )
    name = f"main.{shop.name}"

    repository.backup(name)
    with server.connect() as connection:
        connection.execute("DROP ROLE visitor")
    into = ("--into", server.url(f"{shop.name}_new"), "--password-from", f"file:{password}")
    restored = repository.crew("backups", "restore", "staging", name, *into, "--create")

    assert restored.code == 0, restored
    assert "a setting of role visitor was not restored: it is longer than 64 KiB" in restored.out + restored.err
    shown = repository.crew("backups", "show", "staging", name)
    assert "Not in the set: the comment and 2 settings of the database, longer than 8 KiB" in shown.out
    new = Database(server, f"{shop.name}_new")
    assert new.ask("SELECT a FROM t") == [(1,)]
    assert new.ask("SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase WHERE datname = "
                   "current_database()") == [(["work_mem=5MB"],)]  # fmt: skip
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {new.name}")
