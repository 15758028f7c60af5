"""Find out which databases have a backup set of their last run, with few listings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, takewhile
from typing import TYPE_CHECKING

from inventories import BadEnvironment
from jobs.backup.sets.sets import Set, is_dated_ahead, set_prefix, sets_from_listing
from jobs.backup.sets.trust import TRUST_ALL, Trust, trust_of
from jobs.run.documents import key_timestamp
from jobs.store import Store

if TYPE_CHECKING:
    from inventories import Environment

_READERS = 16
_GROUPS, _LISTINGS_OF_GROUP = 8, 3
_KEYS_OF_LISTING = 300
"""About 50 sets: enough to pass over a neighbour with few sets. S3 would answer 1,000, which take 40 ms to parse."""


@dataclass(frozen=True, slots=True)
class RecentSets:
    """Databases that have a complete and trusted set since a time, and those that were not checked."""

    found: frozenset[str]
    unchecked: frozenset[str] = frozenset()


def find_recent_sets(
    store: Store, environment: Environment, since: Mapping[str, datetime], now: datetime, *, few_requests: bool = False
) -> RecentSets:
    """Return which databases have a complete and trusted set that started since a time, and not in the future.

    With few requests, a listing also checks the databases that follow in the store, as far as one request reaches; the
    databases that no request reached only need any set. Which ones these are changes every minute.
    """
    search = _Search(store, environment, since, _trust_here(environment), now)
    names = sorted(since, key=search.prefix)
    with ThreadPoolExecutor(_READERS) as pool:
        if not few_requests:
            return _together(pool.map(search.check_one, names))
        checked = _together(pool.map(search.check_group, groups_of(names, _GROUPS, now.minute)))
    stored = {folder.key for folder in store.folders(search.root)} if checked.unchecked else set()
    return RecentSets(checked.found, frozenset(name for name in checked.unchecked if search.prefix(name) in stored))


def groups_of(names: Sequence[str], count: int, first: int) -> list[list[str]]:
    """Return at most `count` groups of neighbours; each group begins at another name, by `first`, and wraps around."""
    size = max(1, -(-len(names) // count))
    groups = [list(names[start : start + size]) for start in range(0, len(names), size)]
    return [group[first % len(group) :] + group[: first % len(group)] for group in groups]


def _together(results: Iterable[RecentSets]) -> RecentSets:
    each = list(results)
    return RecentSets(
        frozenset(chain.from_iterable(one.found for one in each)),
        frozenset(chain.from_iterable(one.unchecked for one in each)),
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """A search for the sets of some databases."""

    store: Store
    environment: Environment
    since: Mapping[str, datetime]
    trust: Trust
    now: datetime

    @property
    def root(self) -> str:
        return f"{self.environment.name}/backups/"

    def check_one(self, name: str) -> RecentSets:
        """Check one database with a listing of its own."""
        listing = self.store.list(set_prefix(self.environment.name, name), self._begin(name))
        sets = sets_from_listing(self.environment.name, listing, self.trust, self.now)
        return RecentSets(frozenset({name} if any(map(self._counts, sets)) else ()))

    def check_group(self, names: Sequence[str]) -> RecentSets:
        """Check neighbours; each listing begins with the first database that none before it reached."""
        left, found, unchecked = list(names), set[str](), set[str]()
        for _ in range(_LISTINGS_OF_GROUP):
            if not left:
                break
            neighbours = [name for name in left if self.prefix(name) >= self.prefix(left[0])]
            there, reached = self._list_neighbours(neighbours)
            found |= there
            unchecked |= {left[0]} - reached
            left = [name for name in left[1:] if name not in reached]
        return RecentSets(frozenset(found), frozenset(unchecked | set(left)))

    def _list_neighbours(self, names: Sequence[str]) -> tuple[set[str], set[str]]:
        """Return the databases whose sets were found with one request, and those that it reached the end of."""
        begin, last = self._begin(names[0]), self.prefix(names[-1])
        listing = self.store.list(self.root, begin, _KEYS_OF_LISTING)
        entries = list(takewhile(lambda entry: entry.key < last or entry.key.startswith(last), listing))
        sets = sets_from_listing(self.environment.name, entries, self.trust, self.now)
        found: set[str] = set()
        for each in sets:
            if each.database in names and each.database not in found and self._counts(each):
                found.add(each.database)
        end = entries[-1].key if len(entries) == _KEYS_OF_LISTING else ""
        ended = {name for name in names if not end or (self.prefix(name) < end and self.prefix(name) not in end)}
        return found, ended | found

    def _counts(self, each: Set) -> bool:
        is_recent = each.prefix > self._begin(each.database)
        return is_recent and each.complete and not is_dated_ahead(each, self.now) and each.untrusted is None

    def prefix(self, name: str) -> str:
        return set_prefix(self.environment.name, name)

    def _begin(self, name: str) -> str:
        return f"{self.prefix(name)}{key_timestamp(self.since[name])}/"


def _trust_here(environment: Environment) -> Trust:
    """Return what the environment trusts; everything on a machine that has no key to know it by."""
    try:
        return trust_of(environment)
    except BadEnvironment:
        return TRUST_ALL
