"""crew backups list on a directory store: an empty list says why it is empty."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.sets.description import TableRows
from jobs.backup.sets.stored import StoredSet
from jobs.cli.sets import print_set
from jobs.store.directory import DirectoryStore
from tests.parts.runs import store_in
from tests.parts.sets import put, set_id
from tests.unit.jobs.backup.sets.test_description import DESCRIPTION
from tests.unit.jobs.backup.sets.test_manifest import MANIFEST
from tests.unit.jobs.cli.conftest import Crew, Write, databases

SHOWN = StoredSet(MANIFEST, DirectoryStore("", Path()), None)


@pytest.mark.parametrize(
    ("tables", "shown", "listed", "end"),
    [
        (10, 10, 10, ""),
        (11, 10, 10, "and 1 more table; to list all: --all"),
        (32, 10, 10, "and 22 more tables; to list all: --all"),
        (32, None, 32, ""),
    ],
)
def test_a_shortened_list_of_tables_says_so(
    capsys: pytest.CaptureFixture[str], tables: int, shown: int | None, listed: int, end: str
) -> None:
    described = tuple(TableRows("public", f"t{n}", 1, n) for n in range(tables))
    print_set(SHOWN, replace(DESCRIPTION, tables=described), tables_shown=shown)
    printed = capsys.readouterr().out
    assert printed.count("public.t") == listed
    assert (end in printed) if end else ("more table" not in printed)


def add_set(store: Path, environment: str, database: str) -> None:
    """Write what makes a backup set in a listing: its manifest."""
    manifest = store / environment / "backups" / database / "20261120T020000Z-cccc" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")


def note(crew: Crew, *args: str) -> str:
    """Return why the list is empty, which --json says too."""
    result = crew("backups", "list", "try", *args)
    assert result.code == 0, result
    document = crew("backups", "list", "try", *args, "--json").json
    assert result.out == f"try: {document['note']}\n"
    return str(document["note"])


def test_the_first_backup_is_named_in_an_empty_store(crew: Crew, write: Write) -> None:
    write(databases("shop"))
    assert note(crew) == "no complete backup sets yet. To take the first: crew run backup try"


@pytest.mark.parametrize("database", ["stock", "main.tenannt_1"])
def test_a_database_without_sets_is_answered_with_those_that_have_some(
    crew: Crew, write: Write, tmp_path: Path, database: str
) -> None:
    write(databases("shop", "stock") + '[servers.main]\nurl = "postgresql://nobody@127.0.0.1:1/postgres"\n')
    add_set(tmp_path / "store", "try", "shop")
    assert note(crew, database) == f"{database} has no complete backup sets. Databases with sets: shop."


def test_the_newest_three_sets_of_each_database_are_listed(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop", "stock"))
    store, now = store_in(tmp_path / "store"), datetime.now(UTC)
    for days in (1, 2, 3, 4, 300):
        put(store, now - timedelta(days=days))
    put(store, now - timedelta(days=1), complete=False, database="stock")
    put(store, now - timedelta(days=2), database="stock")
    listed = crew("backups", "list", "try", "--json").json["sets"]
    shop = [each for each in listed if each["database"] == "shop"]
    assert [each["set"] for each in shop] == [set_id(now - timedelta(days=days)) for days in (1, 2, 3)]
    assert [each["kept_by"] for each in shop] == [None] * 3, "it depends on older sets, which are not listed"
    stock = [(each["state"], each["kept_by"]) for each in listed if each["database"] == "stock"]
    assert stock == [("incomplete", None), ("complete", "policy is empty")]
    more = "The newest 3 of each database; to list all: --all, or name a database"
    assert more in crew("backups", "list", "try").out
    for all_of_shop in (("--all",), ("shop",)):
        assert more not in crew("backups", "list", "try", *all_of_shop).out
        found = crew("backups", "list", "try", *all_of_shop, "--json").json["sets"]
        assert sum(each["database"] == "shop" and each["kept_by"] == "policy is empty" for each in found) == 5
    assert len(crew("backups", "list", "try", "shop", "--limit", "2", "--json").json["sets"]) == 2
    assert f"{now - timedelta(days=1):%b %d}" in crew("backups", "list", "try", "shop").out


def test_an_option_names_the_database_too(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("shop", "stock"))
    store, now = store_in(tmp_path / "store"), datetime.now(UTC)
    put(store, now - timedelta(days=1))
    put(store, now - timedelta(days=1), database="stock")
    for args in (("stock",), ("--database", "stock"), ("stock", "--database", "stock")):
        listed = crew("backups", "list", "try", *args, "--json").json["sets"]
        assert [each["database"] for each in listed] == ["stock"]
    refused = crew("backups", "list", "try", "shop", "--database", "stock")
    assert (refused.code, refused.err) == (
        64, "shop and --database stock name two databases; name one of them\n",
    )  # fmt: skip


def test_databases_of_a_server_stand_under_its_name(crew: Crew, write: Write, tmp_path: Path) -> None:
    write(databases("zoo") + '[servers.main]\nurl = "postgresql://nobody@127.0.0.1:1/postgres"\n')
    store, now = store_in(tmp_path / "store"), datetime.now(UTC)
    for database in ("main.b", "zoo", "main.a", "main.a"):
        put(store, now - timedelta(days=1), database=database)
    put(store, now - timedelta(days=2), database="main.a")
    lines = crew("backups", "list", "try", "--all").out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "database", "zoo", "server main: 2 databases", "main.a", "main.a", "main.b",
    ]  # fmt: skip
    assert lines[1].index("20") == len("database  "), "the heading widens no column"


def test_a_set_whose_manifest_was_deleted_is_not_listed_as_a_failed_run(
    crew: Crew, write: Write, tmp_path: Path
) -> None:
    write(databases("shop"))
    store, now = store_in(tmp_path / "store"), datetime.now(UTC)
    lost = put(store, now - timedelta(days=2))
    store.delete([f"try/backups/shop/{lost}/manifest.json"])
    listed = crew("backups", "list", "try").out
    assert "left by failed runs" not in listed
    assert listed.index("Were complete, but their manifest or signature is gone") < listed.index(lost)
