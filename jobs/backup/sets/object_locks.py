"""Object lock of sets: how long it protects their objects, and which object of a set gets its lock last."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Protocol

from inventories import Keep
from inventories.value_types import Span
from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.marker import MARKER
from jobs.backup.sets.sets import PIN, Set
from jobs.store import ObjectLock, Store

LOCKS_AT_ONCE = 8
"""Requests at once. Each object has its own lock, and each costs a request."""


class LockSettings(Protocol):
    """The keys of a store in the environment file that are about object lock."""

    @property
    def lock(self) -> timedelta | None: ...
    @property
    def lock_mode(self) -> str: ...


def lock_of_new_set(settings: LockSettings | None, keep: Keep, now: datetime) -> ObjectLock | None:
    """Return the lock of a new set, for the longer of `lock` and `within`; None without `lock`.

    `within` keeps every set. Other rules keep only some of them, and a lock would also keep those that they remove.
    """
    if settings is None or settings.lock is None:
        return None
    return _lock(settings, now + max(settings.lock, _longest(keep.within)))


def lock_to_renew(
    settings: LockSettings,
    keep: Keep,
    reasons: Collection[str],
    *,
    started: datetime,
    current: ObjectLock | None,
    now: datetime,
) -> ObjectLock | None:
    """Return the new lock of a set that stays for these reasons; None if more than half of `lock` is left.

    If `within` or `daily` keeps the set, the lock lasts as long as the rule does. The set is then safe even if somebody
    stops retention.
    """
    if settings.lock is None or (current is not None and current.until - now > settings.lock / 2):
        return None
    lock = _lock(settings, max(now + settings.lock, started + _period_of_rules(keep, reasons)))
    compliance = lock.compliance or (current is not None and current.compliance)  # S3 never weakens the mode
    return ObjectLock(lock.until, compliance)


def lockable_names(names: Iterable[str]) -> list[str]:
    """Return the names of a set's keys that are locked: pieces, manifest, signature and marker.

    Tags, pins and results of verifications are not, because they change later.
    """
    return [name for name in names if name.startswith(MARKER) or ("/" not in name and name != PIN)]


def unlocked_names(store: Store, backup_set: Set, names: Iterable[str]) -> list[str]:
    """Return the names of objects that have no lock, of those that a backup locks."""
    lockable = lockable_names(names)
    with ThreadPoolExecutor(LOCKS_AT_ONCE) as pool:
        locks = pool.map(lambda name: store.object_lock(backup_set.prefix + name), lockable)
        return [name for name, lock in zip(lockable, locks, strict=True) if lock is None]


def witness_key(backup_set: Set) -> str:
    """Return the key whose lock stands for the whole set: it is locked together with the others, and last."""
    return backup_set.prefix + (backup_set.marker.name if backup_set.marker is not None else MANIFEST)


def lock_set(store: Store, backup_set: Set, names: Iterable[str], lock: ObjectLock, check: Callable[[], None]) -> None:
    """Lock the objects of a set that a backup locks, or extend their locks; `check` raises to stop."""
    witness = witness_key(backup_set)

    def extend(key: str) -> None:
        check()
        store.extend_lock(key, lock)

    with ThreadPoolExecutor(LOCKS_AT_ONCE) as pool:
        list(pool.map(extend, {backup_set.prefix + name for name in lockable_names(names)} - {witness}))
    extend(witness)  # last: if the run is killed before, the next one goes on


def _lock(settings: LockSettings, until: datetime) -> ObjectLock:
    return ObjectLock(until.replace(microsecond=0), settings.lock_mode == "compliance")


def _period_of_rules(keep: Keep, reasons: Collection[str]) -> timedelta:
    """Return for how long `within` and `daily` keep a set that they keep now."""
    period = timedelta()
    if keep.within is not None and f"within {keep.within}" in reasons:
        period = _longest(keep.within)
    if keep.daily is not None and keep.daily > 0 and {"daily", "oldest daily"} & {*reasons}:
        period = max(period, timedelta(days=keep.daily))
    return period


def _longest(span: Span | None) -> timedelta:
    """Return the longest time that a calendar period can last."""
    if span is None:
        return timedelta()
    return timedelta(days=span.years * 366 + span.months * 31 + span.days, hours=span.hours)
