"""pg_cron needs a preloaded library, and works in one database of a server only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.postgres import DISTRIBUTION, Database, fresh, start

pytestmark = needs("extension-pg_cron")


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Database]:
    [major] = DISTRIBUTION
    folder = tmp_path / "server"
    folder.mkdir(mode=0o755)
    settings = {"shared_preload_libraries": "pg_cron", "cron.database_name": "app"}
    with start(major, folder, settings) as server, fresh(server, "app") as database:
        database.run(
            "CREATE EXTENSION pg_cron",
            "CREATE TABLE a AS SELECT generate_series(1, 100) n",
            "SELECT cron.schedule('* * * * *', 'TRUNCATE a')",
        )
        yield database


def test_a_database_with_pg_cron_is_verified_and_restored_into_an_empty_database(
    repository: Repository, app: Database
) -> None:
    repository.environment(text=repository.section("app", app))
    taken = repository.backup("app")
    checked = repository.crew("check", "staging")
    assert "pg_cron: restore into an empty database, without --create and --replace" in checked.out
    verified = repository.crew("run", "verify", "staging")
    assert verified.code == 0, verified
    assert f"set {taken} is verified" in verified.out

    def restore(database: str, *options: str) -> tuple[int, str]:
        target = app.server.url(database)
        given = ("--into", target, "--password-from", f"file:{repository.password(app)}", *options)
        result = repository.crew("backups", "restore", "staging", "app", *given)
        return result.code, result.out + result.err

    for database, option in (("new", "--create"), ("app", "--replace")):
        code, output = restore(database, option)
        assert code == 1
        assert f"so not in the copy that --create and --replace fill first. Set cron.database_name = '{database}'" in (
            " ".join(output.split())
        )
    with app.server.connect() as server:
        server.execute("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'app'")
        server.execute("ALTER DATABASE app RENAME TO app_before")
        server.execute("CREATE DATABASE app")
    code, output = restore("app")
    assert code == 0, output
    assert app.ask("SELECT command FROM cron.job") == [("TRUNCATE a",)]
    assert app.ask("SELECT count(*) FROM a") == [(100,)]
