from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from inventories import Repository
from jobs.backup.postgres.connection import Endpoint
from jobs.backup.restore import protected as module
from jobs.backup.restore.protected import (
    ProtectedDatabase,
    Protection,
    find_protection,
    host_and_port,
    is_same_database,
)
from jobs.backup.restore.target import RestoreTarget
from jobs.store import OutOfReach, Store, StoreOptions

LOCAL = ("localhost", "5432")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://me@Db.Internal:5433/shop", ("db.internal", "5433")),
        ("postgresql://me@db.internal/shop", ("db.internal", "5432")),
        ("postgresql://me@localhost/shop", LOCAL),
        ("postgresql://me@127.0.0.1/shop", LOCAL),
        ("postgresql://me@[::1]:5433/shop", ("localhost", "5433")),
        ("postgresql:///shop", LOCAL),
        ("postgresql:///shop?host=/var/run/postgresql", LOCAL),
    ],
)
def test_host_and_port_of_a_url(url: str, address: tuple[str, str]) -> None:
    assert host_and_port({key: str(value) for key, value in conninfo_to_dict(url).items()}) == address


@pytest.mark.parametrize(
    ("protected", "identifier", "is_same"),
    [
        (ProtectedDatabase("production", "shop", None, "77"), "77", True),
        (ProtectedDatabase("production", "shop", None, "77"), "78", False),
        (ProtectedDatabase("production", "shop", None, None), None, False),
        (ProtectedDatabase("production", "shop", LOCAL, None), None, True),
        (ProtectedDatabase("production", "shop", ("db.internal", "5432"), None), "77", False),
        (ProtectedDatabase("production", "crm", LOCAL, "77"), "77", False),
        (ProtectedDatabase("production", None, LOCAL, None), "77", True),
    ],
)
def test_recognises_the_same_database_by_identifier_or_address(
    protected: ProtectedDatabase, identifier: str | None, is_same: bool
) -> None:
    target = RestoreTarget("shop", 16, False, True, "me", False, 0, frozenset(), frozenset({"shop"}), identifier)
    assert is_same_database(protected, LOCAL, target) is is_same


ENVIRONMENT = """\
[environment]
name = "production"
protected = true

[store]
url = "STORE"
encrypt_to = "nobody"
sign_with = "nobody"

[databases.shop]
url = "postgresql://backup@db.internal/shop"
"""


@pytest.mark.parametrize(("store", "asked"), [("s3://acme-backups/groundcrew", False), ("s3://ours/groundcrew", True)])
def test_the_store_of_an_example_environment_is_never_asked(
    store: str, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "production").touch()
    (tmp_path / "inventories" / "production.toml").write_text(ENVIRONMENT.replace("STORE", store))
    opened: list[str] = []

    def unreachable(options: StoreOptions) -> Store:
        opened.append(options.url)
        raise OutOfReach("no answer")

    monkeypatch.setattr(module, "open_store", unreachable)
    target = RestoreTarget("shop", 16, False, True, "me", False, 0, frozenset(), frozenset({"shop"}), None)
    into = Endpoint({"host": "localhost", "dbname": "shop"})
    protection = find_protection(Repository.find(tmp_path), into, target)
    assert opened == ([store] if asked else [])
    assert protection == Protection((), {"production": "no answer"} if asked else {})
