"""crew backups prune and crew run retention with a directory store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.run.lease import Holder, holder_to
from jobs.store import Store
from jobs.store.directory import DirectoryStore
from tests.parts.runs import store_in
from tests.parts.sets import daily, put, set_id, stored_sets
from tests.unit.jobs.cli.conftest import HEAD, Crew, Write

SHOP = '[databases.shop]\nurl = "postgresql://nobody@127.0.0.1:1/shop"\nkeep = {{ {keep} }}\n'
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(days=10)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = store_in(tmp_path / "store")
    for at in daily(NEWEST, 4):
        put(store, at)
    return store


def test_a_dry_run_shows_what_happens_to_each_set_and_the_totals(crew: Crew, write: Write, store: Store) -> None:
    write(SHOP.format(keep="daily = 2, yearly = 3"))
    result = crew("backups", "prune", "try", "--dry-run")
    assert result.code == 0, result
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == "try/shop"
    assert lines[2] == f"{set_id(NEWEST)} 10 d 15 B keep newest, daily (1 left), yearly (2 left)"
    assert lines[4].endswith(
        "15 B remove daily: 0 left, yearly: newer set kept for " + f"{NEWEST - timedelta(days=2):%Y} (2 left)"
    )
    assert lines[6] == "keep 3 sets, 45 B; remove 1 set, 15 B"
    assert len(list(stored_sets(store))) == 4


def test_a_dry_run_of_several_databases_has_a_total(crew: Crew, write: Write, store: Store) -> None:
    put(store, NEWEST, database="crm")
    write(SHOP.format(keep="last = 1") + SHOP.format(keep="last = 1").replace("shop]", "crm]"))
    assert "try: keep 2 sets, 30 B; remove 3 sets, 45 B" in crew("backups", "prune", "try", "--dry-run").out


def test_a_dry_run_as_json(crew: Crew, write: Write, store: Store) -> None:
    write(SHOP.format(keep="last = 1"))
    (shop,) = crew("backups", "prune", "try", "shop", "--dry-run", "--json").json["databases"]
    assert [each["keep"] for each in shop["sets"]] == [True, False, False, False]
    assert shop["sets"][0]["reasons"] == ["newest", "last"]
    assert shop["sets"][1]["left"] == {"last": 0}
    assert (shop["keep_bytes"], shop["remove_bytes"], shop["damage"]) == (15, 45, None)


def test_a_dry_run_says_that_a_damaged_newest_set_stops_a_run(crew: Crew, write: Write, store: Store) -> None:
    write(SHOP.format(keep="last = 1"))
    store.put(f"try/backups/shop/{set_id(NEWEST)}/rest.0", b"")
    damaged = f"part rest of set {set_id(NEWEST)} of try/shop is damaged: piece rest.0 has only 0 of its 5 bytes"
    damage = f"a set that always stays cannot be used: {damaged}"
    assert f"a run removes nothing, because {damage}" in " ".join(
        crew("backups", "prune", "try", "--dry-run").out.split()
    )
    (shop,) = crew("backups", "prune", "try", "--dry-run", "--json").json["databases"]
    assert shop["damage"].startswith(damage)
    assert "would remove nothing, because a set" in crew("run", "retention", "try", "--dry-run").out


def test_a_policy_without_rules_keeps_every_set_and_says_so(crew: Crew, write: Write, store: Store) -> None:
    write('[databases.shop]\nurl = "postgresql://nobody@127.0.0.1:1/shop"\n')
    assert "keep has no rules, so no complete set is ever removed" in crew("backups", "prune", "try", "--dry-run").out
    assert "keep has no rules, so every set is kept" in crew("run", "retention", "try").out
    assert len(list(stored_sets(store))) == 4


@pytest.mark.parametrize("command", [("backups", "prune", "try"), ("run", "retention", "try")])
def test_pruning_removes_what_no_rule_keeps(crew: Crew, write: Write, store: Store, command: tuple[str, ...]) -> None:
    write(SHOP.format(keep="last = 1"))
    result = crew(*command)
    assert result.code == 0, result
    assert "removed 3 of 4 sets, 45 B" in result.out
    assert [each.id for each in stored_sets(store)] == [set_id(NEWEST)]


def test_a_prune_whose_lock_is_held_exits_with_75(crew: Crew, write: Write, store: Store) -> None:
    write(SHOP.format(keep="last = 1"))
    now = datetime.now(UTC)
    store.put("try/locks/retention/shop.json", holder_to(Holder("r", "elsewhere", 1, now, 60.0, renewed=now)))
    result = crew("backups", "prune", "try")
    assert result.code == 75, result
    assert "lock retention/shop is held by elsewhere" in result.out
    assert len(list(stored_sets(store))) == 4


def test_a_protected_environment_needs_confirmation(crew: Crew, write: Write, store: Store) -> None:
    write(SHOP.format(keep="last = 1"), head=HEAD.replace("[store]", "protected = true\n[store]"))
    result = crew("backups", "prune", "try")
    assert result.code == 64, result
    assert result.err == (
        "try is protected; --dry-run shows what would be removed. To remove backup sets anyway, add --yes-to try.\n"
    )
    assert crew("backups", "prune", "try", "--dry-run").code == 0
    assert len(list(stored_sets(store))) == 4
    assert crew("backups", "prune", "try", "--yes-to", "try").code == 0
    assert len(list(stored_sets(store))) == 1


def test_a_set_dated_in_the_future_stops_no_other_database_and_is_removed_by_name(
    crew: Crew, write: Write, store: Store
) -> None:
    ahead = put(store, datetime.now(UTC) + timedelta(days=30), database="crm")
    write(SHOP.format(keep="last = 1").replace("shop]", "crm]") + SHOP.format(keep="last = 1"))
    result = crew("backups", "prune", "try", "--dry-run")
    assert result.code == 0, result
    assert f"dated in the future and ignored: {ahead} (to remove one: --set)" in result.out
    assert "keep 1 set, 15 B; remove 3 sets, 45 B" in result.out
    assert "dated in the future: ignored" in crew("backups", "list", "try", "crm").out
    wrong = crew("backups", "prune", "try", "shop", "--set", set_id(NEWEST))
    assert wrong.code == 64, wrong
    assert "no such set that is untrusted, of the future or without its manifest" in wrong.err
    assert crew("backups", "prune", "try", "--set", ahead).code == 64
    removed = crew("backups", "prune", "try", "crm", "--set", ahead)
    assert removed.code == 0, removed
    assert "removed 1 of 1 set" in removed.out
    assert len(list(stored_sets(store))) == 4


def test_sets_that_were_deleted_before_are_listed_and_purged_only_on_request(
    crew: Crew, write: Write, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket writer can delete sets, and then their old versions are all that is left."""
    write(SHOP.format(keep="last = 1"))
    purged: list[str] = []
    deleted = f"try/backups/shop/{set_id(NEWEST)}/rest.0"

    def purge(self: DirectoryStore, prefix: str, is_wanted: Callable[[str], bool]) -> tuple[int, tuple[()]]:
        purged.extend(key for key in [deleted] if is_wanted(key))
        return len(purged), ()

    monkeypatch.setattr(DirectoryStore, "deleted_keys", lambda self, prefix: iter([deleted]))
    monkeypatch.setattr(DirectoryStore, "purge_versions", purge)
    refused = crew("backups", "prune", "try", "--versions")
    assert refused.code == 64, refused
    assert f"shop/{set_id(NEWEST)}" in refused.out
    assert "1 set of try had objects deleted before" in refused.err
    assert (purged, len(list(stored_sets(store)))) == ([], 4)
    allowed = crew("backups", "prune", "try", "--versions", "--yes-to", "try")
    assert (allowed.code, purged) == (0, [deleted]), allowed
