from dataclasses import dataclass, replace
from datetime import UTC, datetime
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
from jobs.backup.sets.sets import Set
from jobs.backup.sets.stored import StoredSet
from jobs.store import OutOfReach, Store, StoreOptions
from tests.parts.runs import store_in
from tests.parts.sets import objects
from tests.parts.store import mark
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST

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
    assert is_same_database(protected, LOCAL, target("shop", identifier)) is is_same


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


SERVER = """\
[servers.main]
url = "postgresql://backup@db.internal/postgres"
"""


@dataclass(frozen=True)
class Asked:
    """A protected environment, a restore target, and how many reads of the environment's store decide."""

    store: str = "s3://ours/groundcrew"
    file: str = ""
    host: str = "localhost"
    database: str = "shop"
    identifier: str | None = "77"
    overwrites: bool = True
    reads: int = 0
    protected: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Asked(reads=1, protected=True),
        Asked(reads=1, identifier="78"),
        Asked(host="db.internal", protected=True),
        Asked(database="crm"),
        Asked(file=SERVER, database="crm", reads=1, protected=True),
        Asked(identifier=None),
        Asked(overwrites=False),
        Asked(store="s3://acme-backups/groundcrew"),
    ],
    ids=["other address", "other server", "same address", "other database", "database of a server", "no identifier",
         "nothing to overwrite", "example"],
)  # fmt: skip
def test_a_store_is_read_only_if_it_can_have_backups_of_the_target(
    case: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each database only the newest manifest is read, however many databases the environment has."""
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "production").touch()
    text = ENVIRONMENT.replace("STORE", case.store) + case.file
    (tmp_path / "inventories" / "production.toml").write_text(text)
    opened: list[str] = []
    read: list[str] = []
    store = store_in(tmp_path / "store")
    mark(tmp_path / "store", "production")
    for database in ("shop", "main.shop", "main.crm", "main.other"):
        for key in objects(datetime.now(UTC), environment="production", database=database, signer=None):
            store.put(key, b"12345")

    def opens(options: StoreOptions) -> Store:
        opened.append(options.url)
        return store

    def reads(store: Store, newest_first: list[Set], decrypt_with: object) -> tuple[Set, StoredSet, list[str]]:
        read.append(newest_first[0].database)
        server = replace(MANIFEST.server, system_identifier="77")
        return newest_first[0], StoredSet(replace(MANIFEST, server=server), store, None), []

    monkeypatch.setattr(module, "open_store", opens)
    monkeypatch.setattr(module, "open_first", reads)
    found = find_protection(
        Repository.find(tmp_path), Endpoint({"host": case.host, "dbname": case.database}),
        target(case.database, case.identifier), ask_stores=case.overwrites,
    )  # fmt: skip
    assert found == Protection(("production",) if case.protected else (), {})
    assert (len(opened), len(read)) == (case.reads, case.reads)


def test_an_environment_that_can_be_the_target_and_does_not_respond_is_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories" / "production").touch()
    (tmp_path / "inventories" / "production.toml").write_text(ENVIRONMENT.replace("STORE", "s3://ours/groundcrew"))

    def unreachable(options: StoreOptions) -> Store:
        raise OutOfReach("no answer")

    monkeypatch.setattr(module, "open_store", unreachable)
    repository, into = Repository.find(tmp_path), Endpoint({"host": "localhost", "dbname": "shop"})
    assert find_protection(repository, into, target("shop", "77")) == Protection((), {"production": "no answer"})


def target(database: str, identifier: str | None) -> RestoreTarget:
    """Return a database that exists, on a server with this identifier."""
    return RestoreTarget(database, 16, False, True, "me", False, 3, frozenset(), frozenset({database}), identifier)
