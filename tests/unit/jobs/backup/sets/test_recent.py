"""Which databases have a set of their last run: all of them exactly, or with few requests."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from inventories import Environment, Repository
from jobs.backup.sets import recent
from jobs.backup.sets.recent import RecentSets, find_recent_sets, groups_of
from jobs.store import ListedKey, ListedPrefix, Store
from tests.parts.sets import objects

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SINCE = NOW - timedelta(hours=1)
RECENT, OLD = NOW - timedelta(minutes=30), NOW - timedelta(days=1)
KEYS_OF_SET = len(objects(NOW))


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    (tmp_path / "try").touch()
    (tmp_path / "try.toml").write_text(
        f'[environment]\nname = "try"\n[store]\nurl = "file://{tmp_path}/store"\nencrypt_to = "nobody"\n'
        'sign_with = "nobody"\n'
    )
    return Repository.find(tmp_path).read("try")


class Listings:
    """Sorted keys that count each page as a request, as S3 does."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.requests = 0

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        for number, key in enumerate(self.keys[bisect_right(self.keys, start_after or prefix) :][:limit]):
            self.requests += number % 1000 == 0
            if not key.startswith(prefix):
                return
            yield ListedKey(key, 1, NOW, "v")

    def folders(self, prefix: str = "") -> Iterator[ListedPrefix]:
        self.requests += 1
        below = {key.removeprefix(prefix).split("/")[0] for key in self.keys}
        return (ListedPrefix(f"{prefix}{folder}/") for folder in sorted(below))

    def add(self, names: Iterable[str], *times: datetime) -> None:
        added = (key for name in names for at in times for key in objects(at, database=name, signer=None))
        self.keys = sorted([*self.keys, *added])


@pytest.fixture
def keys() -> Listings:
    return Listings()


@pytest.fixture
def store(keys: Listings) -> Store:
    return cast("Store", keys)


def databases(count: int) -> list[str]:
    return [f"db-{number:03}" for number in range(count)]


def test_one_listing_checks_neighbours(environment: Environment, keys: Listings, store: Store) -> None:
    names = [*databases(60), "db", "db-"]  # in the store, these two come after the longer names
    keys.add(names[:30] + names[31:], OLD, RECENT)
    keys.add([names[30]], OLD)
    keys.add(["another", "gone"], RECENT)
    checked = find_recent_sets(store, environment, dict.fromkeys(names, SINCE), NOW, few_requests=True)
    assert checked == RecentSets(frozenset(names) - {names[30]})
    assert keys.requests <= 2 * recent._GROUPS
    exactly = find_recent_sets(store, environment, dict.fromkeys(names, SINCE), NOW)
    assert exactly == checked


@pytest.mark.parametrize("page", [1, 2 * KEYS_OF_SET, 7 * KEYS_OF_SET + 3])
def test_what_few_requests_do_not_reach_is_unchecked_and_differs_by_minute(
    environment: Environment, keys: Listings, store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(recent, "_KEYS_OF_LISTING", page)
    names = databases(40)
    keys.add(names[:30], OLD, OLD + timedelta(hours=1), RECENT)
    keys.add(names[30:35], OLD)  # lost
    since, lost, found = dict.fromkeys(names, SINCE), set(names[30:]), set[str]()
    for minute in range(10):
        now = NOW.replace(minute=minute)
        keys.requests = 0
        checked = find_recent_sets(store, environment, since, now, few_requests=True)
        assert keys.requests <= recent._GROUPS * recent._LISTINGS_OF_GROUP + 1
        assert not checked.found & lost, "a listing that is cut hides no loss"
        assert not checked.found & checked.unchecked
        assert not checked.unchecked & set(names[35:]), "without any set, a database has certainly lost its newest"
        assert set(names[:30]) <= checked.found | checked.unchecked, "a cut listing shows no loss that is none"
        found |= checked.found
    assert found == set(names[:30]) or page == 1


def test_a_few_databases_are_all_checked(
    environment: Environment, keys: Listings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "_KEYS_OF_LISTING", KEYS_OF_SET)
    names = databases(recent._GROUPS * recent._LISTINGS_OF_GROUP)
    keys.add(names[1:], OLD, RECENT)
    checked = find_recent_sets(store, environment, dict.fromkeys(names, SINCE), NOW, few_requests=True)
    assert checked == RecentSets(frozenset(names[1:]))


def test_groups_begin_at_another_name_each_minute() -> None:
    assert groups_of(["a", "b", "c", "d", "e"], 2, 0) == [["a", "b", "c"], ["d", "e"]]
    assert groups_of(["a", "b", "c", "d", "e"], 2, 4) == [["b", "c", "a"], ["d", "e"]]
    assert groups_of([], 2, 1) == []
