"""The owner of a database plants functions, operators, views and types. Nothing that runs as a superuser calls them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts import postgres as servers
from tests.parts.backups import ROOT
from tests.parts.crew import CrewResult, Repository
from tests.parts.needs import majors
from tests.parts.postgres import Database, Server

SHADOWS = ROOT / "tests/parts/shadows.sql"
SOURCES = (*(ROOT / "jobs/backup").rglob("*.py"), ROOT / "jobs/checks/databases.py")
WORDS = sorted({word for source in SOURCES for word in re.findall(r"[a-z][a-z0-9_]+", source.read_text())})
FEWEST = 150


@pytest.fixture
def server(tmp_path: Path, major: int) -> Iterator[Server]:
    """A server of this test's own, with an ordinary role that owns databases and writes into all schemas public."""
    tmp_path.chmod(0o755)
    with servers.start(major, tmp_path) as started:
        with started.connect() as connection:
            connection.execute(f"CREATE ROLE app LOGIN PASSWORD '{servers.PASSWORD}'")
            for name in ("shop", "replaced", "added", "refreshed"):
                connection.execute(f"CREATE DATABASE {name} OWNER app")
        for name in ("postgres", "shop", "replaced", "added", "refreshed"):
            plant(Database(started, name))
        yield started


def plant(database: Database) -> None:
    """Plant shadows as app, and put them before pg_catalog where app owns the database."""
    database.run("GRANT CREATE ON SCHEMA public TO app")
    with database.connect() as connection:
        connection.execute("SET ROLE app")
        connection.execute(SHADOWS.read_text().replace("{words}", " ".join(WORDS)).encode())
        [planted] = connection.execute("SELECT count(*) FROM pg_proc WHERE proowner = 'app'::regrole").fetchone() or (
            0,
        )
        assert planted > FEWEST
        if database.name != "postgres":
            connection.execute(f"ALTER DATABASE {database.name} SET search_path = public, pg_catalog")


def succeeded(server: Server, ended: CrewResult) -> None:
    """Check that a command succeeded and that no shadow was called, as far as the server's log says."""
    called = re.findall(r"planted .* was called by .*", server.log)
    assert called == []
    assert "planted" not in ended.out + ended.err, ended
    assert ended.code == 0, ended


@majors(13, 18)
def test_nothing_calls_what_an_owner_has_planted(repository: Repository, server: Server) -> None:
    shop, into = Database(server, "shop"), ("--password-from", f"file:{repository.root}/password")
    shop.run("CREATE TABLE public.customers AS SELECT 1 AS id", "ALTER TABLE public.customers OWNER TO app")
    shop.run("CREATE TABLE public.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)")
    with server.connect() as connection:
        for name in ("shop", "replaced", "added", "refreshed"):
            connection.execute(f"ALTER DATABASE {name} SET role = app")
    repository.environment("production", repository.section("shop", shop))
    succeeded(server, repository.crew("check", "production"))
    succeeded(server, repository.crew("run", "backup", "production"))
    succeeded(server, repository.crew("run", "verify", "production"))

    restore = ("backups", "restore", "production", "shop", *into, "--into")
    superuser = ("--as", "postgres")  # the table orders is not the owner's
    succeeded(server, repository.crew(*restore, server.url("created"), "--create", *superuser))
    succeeded(server, repository.crew(*restore, server.url("replaced"), "--replace", *superuser))
    tables = ("--tables", "customers", "--tables", "orders")
    succeeded(server, repository.crew(*restore, server.url("added"), *tables, *superuser))
    succeeded(
        server,
        repository.crew(*restore, server.url("as_app"), "--create", "--as", "app", "--as-password-from", into[1]),
    )
    succeeded(server, repository.crew(*restore, server.url("picked"), "--tables", "customers", "--create"))

    Database(server, "refreshed").run("ALTER DATABASE refreshed RESET search_path")
    (repository.root / "inventories/shop.sql").write_text("DELETE FROM customers;")
    repository.environment(
        "staging",
        f'[refresh.shop]\nfrom = "production/shop"\ninto = "{server.url("refreshed")}"\nsanitise = "shop.sql"\n'
        f'password = {{ file = "{repository.root}/password" }}\nrestore_as = "app"\n'
        f'restore_as_password = {{ file = "{repository.root}/password" }}\n',
    )
    succeeded(server, repository.crew("check", "staging"))
    for _ in range(2):
        succeeded(server, repository.crew("run", "refresh", "staging"))
