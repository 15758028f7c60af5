"""How long object lock protects a set: when it is written, and when retention renews its lock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from inventories import Keep
from inventories.value_types import Span
from jobs.backup.sets.object_locks import lock_of_new_set, lock_set, lock_to_renew, lockable_names, witness_key
from jobs.run import Stopped
from jobs.store import ObjectLock, Store
from tests.parts.sets import listed

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Settings:
    lock: timedelta | None = timedelta(days=30)
    lock_mode: str = "governance"


@pytest.mark.parametrize(
    ("settings", "keep", "days"),
    [
        (Settings(lock=None), Keep(within=Span(days=60)), None),
        (Settings(), Keep(), 30),
        (Settings(), Keep(within=Span(days=60)), 60),
        (Settings(), Keep(within=Span(years=1, months=1)), 366 + 31),
        (Settings(), Keep(within=Span(hours=48)), 30),
        (Settings(), Keep(hourly=24, daily=90, monthly=12), 30),
    ],
)
def test_a_new_set_is_locked_for_the_longer_of_lock_and_within(
    settings: Settings, keep: Keep, days: int | None
) -> None:
    lock = lock_of_new_set(settings, keep, NOW)
    assert lock == (None if days is None else ObjectLock(NOW + timedelta(days=days)))


@pytest.mark.parametrize(
    ("keep", "reasons", "age", "left", "expected"),
    [
        (Keep(daily=90), ["daily"], 1, 29, None),  # more than half is left
        (Keep(daily=90), ["daily"], 15, 15, 75),  # as long as the rule keeps it
        (Keep(daily=90), ["oldest daily"], 15, 15, 75),
        (Keep(daily=90), ["daily"], 80, 10, 30),  # the rule ends sooner than `lock`
        (Keep(daily=-1), ["daily"], 15, 15, 30),
        (Keep(daily=90, monthly=12), ["monthly"], 15, 15, 30),
        (Keep(within=Span(days=60)), ["within 60d"], 20, 10, 40),
        (Keep(daily=90), ["newest"], 15, None, 30),  # taken before `lock` was set
        (Keep(daily=90), ["pinned"], 400, -20, 30),
    ],
)
def test_retention_renews_the_lock_of_a_set_that_stays(
    keep: Keep, reasons: list[str], age: int, left: int | None, expected: int | None
) -> None:
    current = None if left is None else ObjectLock(NOW + timedelta(days=left))
    started = NOW - timedelta(days=age)
    lock = lock_to_renew(Settings(), keep, reasons, started=started, current=current, now=NOW)
    assert lock == (None if expected is None else ObjectLock(NOW + timedelta(days=expected)))


def test_a_lock_in_compliance_mode_is_never_weakened() -> None:
    current = ObjectLock(NOW + timedelta(days=1), compliance=True)
    renewed = lock_to_renew(Settings(), Keep(), ["newest"], started=NOW, current=current, now=NOW)
    assert renewed == ObjectLock(NOW + timedelta(days=30), compliance=True)


def test_what_changes_later_is_not_locked() -> None:
    names = ["ended/20261121", "manifest.json", "manifest.json.sig", "rest.0", "pin", "tags/a", "verifications/x"]
    assert lockable_names(names) == ["ended/20261121", "manifest.json", "manifest.json.sig", "rest.0"]


@pytest.mark.parametrize("locked_before_it_stops", range(4))
def test_a_run_that_is_stopped_does_not_lock_the_object_that_stands_for_the_set(locked_before_it_stops: int) -> None:
    names, locked, whole = ["rest.0", "manifest.json", "manifest.json.sig", "pin"], list[str](), listed(NOW)
    store = cast(Store, SimpleNamespace(extend_lock=lambda key, _: locked.append(key.removeprefix(whole.prefix))))

    def check() -> None:
        if len(locked) >= locked_before_it_stops:
            raise Stopped("stopped by SIGTERM")

    if locked_before_it_stops < 3:
        with pytest.raises(Stopped):
            lock_set(store, whole, names, ObjectLock(NOW), check)
        assert "manifest.json" not in locked
    else:
        lock_set(store, whole, names, ObjectLock(NOW), check)
        assert whole.prefix + locked[-1] == witness_key(whole)
        assert sorted(locked) == ["manifest.json", "manifest.json.sig", "rest.0"]
