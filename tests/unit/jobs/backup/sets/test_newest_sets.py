"""The newest sets of a database are listed without the old ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.backup.sets.sets import Set, find_newest_sets
from tests.parts.runs import CountingStore, store_in
from tests.parts.sets import put
from tests.parts.signing import TRUST

NOW = datetime(2026, 11, 29, 20, 0, tzinfo=UTC)


def at_least(count: int) -> Callable[[Sequence[Set]], bool]:
    return lambda complete: len(complete) >= count


@pytest.mark.parametrize(
    ("days", "count", "found", "are_all", "listings"),
    [
        ((1, 2, 3, 20, 300), 3, (3, 2, 1), False, 1),
        ((1, 2, 20, 300), 3, (20, 2, 1), False, 2),
        ((1, 2, 300), 3, (300, 2, 1), True, 3),
        ((300, 400), 1, (400, 300), True, 3),
        ((-30, 1), 1, (1, -30), False, 1),
        ((), 3, (), True, 3),
    ],
)
def test_only_as_far_back_as_needed(
    tmp_path: Path, days: Sequence[int], count: int, found: Sequence[int], *, are_all: bool, listings: int
) -> None:
    store = CountingStore(store_in(tmp_path / "store"))
    for each in days:
        put(store, NOW - timedelta(days=each))
    put(store, NOW - timedelta(days=2), database="shopping")
    store.requests.clear()
    newest = find_newest_sets(store, "try", "shop", NOW, at_least(count), trust=TRUST)
    assert tuple((NOW - each.started).days for each in newest.sets) == found
    assert newest.are_all == are_all
    assert len(store.requests) == listings


def test_sets_that_are_incomplete_are_found_and_are_not_enough(tmp_path: Path) -> None:
    store = store_in(tmp_path / "store")
    put(store, NOW - timedelta(days=1), complete=False)
    put(store, NOW - timedelta(days=20))
    newest = find_newest_sets(store, "try", "shop", NOW, at_least(1), trust=TRUST)
    assert [each.complete for each in newest.sets] == [True, False]
