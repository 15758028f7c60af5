"""The owner of a database can choose a format of money in which other databases read other amounts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from jobs.embedded import _postgres
from tests.parts import postgres as servers
from tests.parts.crew import Repository
from tests.parts.needs import needs
from tests.parts.postgres import Database

AMOUNTS = "SELECT price::numeric::text FROM {} ORDER BY price"


@needs("locale-es_CL", "postgres-15")
def test_amounts_of_money_do_not_depend_on_the_settings_of_a_database(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locales = tmp_path / "locales"
    locales.mkdir()
    subprocess.run(["localedef", "-i", "es_CL", "-f", "UTF-8", locales / "es_CL.UTF-8"], check=True)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "LOCPATH": str(locales)}
    monkeypatch.setattr(_postgres, "minimal_environment", lambda: environment)
    with servers.start(15, tmp_path) as server:
        with server.connect() as connection:
            connection.execute("CREATE DATABASE shop")
            connection.execute("ALTER DATABASE shop SET lc_monetary = 'es_CL.UTF-8'")
        shop, new = Database(server, "shop"), Database(server, "new")
        shop.run(
            "CREATE TABLE items (price money DEFAULT 7.5::numeric::money)",
            "INSERT INTO items VALUES (5::money), (999.99::numeric::money), ((-1234.5)::numeric::money)",
        )
        assert shop.ask("SELECT price::text FROM items") == [("$ 5,00",), ("$ 999,99",), ("-$ 1.234,50",)]
        repository.environment(text=repository.section("shop", shop))
        repository.backup()
        restore = ("backups", "restore", "staging", "shop", "--password-from", f"file:{repository.root}/password")
        assert repository.crew(*restore, "--into", new.url, "--create").code == 0
        new.run("INSERT INTO items DEFAULT VALUES")
        beside = ("--tables", "items", "--as-table", "items_before")
        assert repository.crew(*restore, "--into", shop.url, *beside).code == 0

        before = [("-1234.50",), ("5.00",), ("999.99",)]
        assert new.ask(AMOUNTS.format("items")) == sorted([*before, ("7.50",)], key=lambda row: float(row[0]))
        assert shop.ask(AMOUNTS.format("items_before")) == before
