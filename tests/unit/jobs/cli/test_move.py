"""crew backups copy: a store moves to another directory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.store import Store, make_store
from tests.parts.runs import store_in
from tests.parts.sets import daily, put, set_id
from tests.unit.jobs.cli.conftest import Crew, Write, databases

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
SHOP = databases("shop", more="keep = { daily = 1 }")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_in(tmp_path / "store")
    newest, older = daily(NEWEST, 2)
    put(store, newest, "pin", "tags/release")
    put(store, older, f"verifications/{NEWEST:%Y%m%dT%H%M%S}.000Z-passed-{'0' * 64}")
    put(store, NEWEST - timedelta(days=9), complete=False)
    put(store, NEWEST, database="crm")
    return store


def everything(store: Store) -> dict[str, bytes]:
    """Return every object of the environment that moves."""
    skipped = (f"try/backups/shop/{set_id(NEWEST - timedelta(days=9))}", "try/runs/latest.json")
    return {each.key: store.get(each.key).body for each in store.list("try/") if not each.key.startswith(skipped)}


def test_a_store_moves_whole_and_can_be_used_there(crew: Crew, write: Write, store: Store, tmp_path: Path) -> None:
    file = write(SHOP)
    assert crew("run", "retention", "try", "--dry-run").code == 0
    assert crew("run", "retention", "try").code == 0  # so that there are a record and a lock
    url = f"file://{tmp_path}/new"
    planned = crew("backups", "copy", "try", "--to", url, "--dry-run")
    assert planned.code == 0, planned
    assert not (tmp_path / "new").exists()
    moved = crew("backups", "copy", "try", "--to", url, "--json")
    assert moved.code == 0, moved
    shop = {each["database"]: each for each in moved.json["databases"]}["shop"]
    assert (len(shop["copied"]), shop["sets"], shop["problems"]) == (2, 2, [])
    new = store_in(tmp_path / "new")
    old_objects, new_objects = everything(store), everything(new)
    records = {key for key in old_objects if key.startswith("try/runs/")}
    assert {key: body for key, body in old_objects.items() if key not in records} == {
        key: body for key, body in new_objects.items() if not key.startswith("try/runs/")
    } | {"try/groundcrew.json": old_objects["try/groundcrew.json"]}
    listed = crew("backups", "list", "try", "--json").json["sets"]
    file.write_text(file.read_text().replace(f"{tmp_path}/store", f"{tmp_path}/new"))
    there = crew("backups", "list", "try", "--json").json["sets"]
    assert there == [each for each in listed if each["state"] != "incomplete"]
    assert [run["job"] for run in crew("runs", "try", "--json").json["runs"]] == ["retention"]


def test_a_second_time_copies_only_what_is_new(crew: Crew, write: Write, store: Store, tmp_path: Path) -> None:
    write(SHOP)
    url = f"file://{tmp_path}/new"
    assert crew("backups", "copy", "try", "shop", "--to", url).code == 0
    assert not list(store_in(tmp_path / "new").list("try/backups/crm/"))
    put(store, NEWEST + timedelta(hours=1))
    (shop,) = crew("backups", "copy", "try", "shop", "--to", url, "--json").json["databases"]
    assert shop["copied"] == [set_id(NEWEST + timedelta(hours=1))]
    assert shop["sets"] == 3


def test_a_damaged_set_is_a_finding(crew: Crew, write: Write, store: Store, tmp_path: Path) -> None:
    write(SHOP)
    store.put(f"try/backups/crm/{set_id(NEWEST)}/rest.0", b"other")
    result = crew("backups", "copy", "try", "--to", f"file://{tmp_path}/new")
    assert result.code == 2, result
    assert "part rest of set" in result.out
    assert not list(store_in(tmp_path / "new").list(f"try/backups/crm/{set_id(NEWEST)}/manifest"))


def test_a_place_that_cannot_be_right_is_refused(crew: Crew, write: Write, store: Store, tmp_path: Path) -> None:
    write(SHOP)
    itself = crew("backups", "copy", "try", "--to", f"file://{tmp_path}/store/")
    assert itself.code == 64, itself
    assert "is the store of try itself" in itself.err
    assert crew("backups", "copy", "try", "--to", "s3:bucket").code == 64
    unmarked = store_in(tmp_path / "unmarked")
    unmarked.delete(["try/groundcrew.json"])
    put(unmarked, NEWEST)
    refused = crew("backups", "copy", "try", "--to", f"file://{tmp_path}/unmarked")
    assert refused.code == 78, refused
    make_store(unmarked, "try")
    assert crew("backups", "copy", "try", "--to", f"file://{tmp_path}/unmarked").code == 0
