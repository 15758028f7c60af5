"""Object lock in retention: keeps what is still locked, and renews the locks of sets that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from jobs.backup import MANIFEST, LockSettings, Set, lock_to_renew, lockable_names
from jobs.retention.policy import Decision
from jobs.store import ObjectLock, Store, StoreError

if TYPE_CHECKING:
    from inventories import Keep

WORKERS = 8
"""Requests at once. Each object has its own lock, and each costs a request."""


@dataclass(frozen=True, slots=True)
class LockPlan:
    """What object lock changes in the decisions of one database."""

    decisions: tuple[Decision[Set], ...]
    """The same decisions, but a set that is still locked is kept."""
    locked: Mapping[str, datetime]
    """When the lock of a set ends, by the ID of the set; only of sets that no rule keeps."""
    renewals: Mapping[str, ObjectLock]
    """The new locks, by the ID of the set."""


@dataclass(frozen=True, slots=True)
class NotRenewed:
    """A set whose lock could not be renewed, and why."""

    set: str
    why: str


def plan_locks(
    store: Store, settings: LockSettings | None, keep: Keep, decisions: Sequence[Decision[Set]], now: datetime
) -> LockPlan:
    """Read the lock of each set, of one object each, and decide what it changes; without `lock`, read nothing.

    Times for people are in the timezone of `now`.
    """
    if settings is None or settings.lock is None:
        return LockPlan(tuple(decisions), {}, {})
    asked = [each for each in decisions if not each.keep or each.set.untrusted is None]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = pool.map(lambda each: store.object_lock(witness_key(each.set)), asked)
        locks = {each.set.id: lock for each, lock in zip(asked, found, strict=True)}
    locked = {
        each.set.id: lock.until.astimezone(now.tzinfo)
        for each in decisions
        if not each.keep and (lock := locks[each.set.id]) is not None and lock.until > now
    }
    renewals = {
        each.set.id: lock
        for each in decisions
        if each.keep and each.set.id in locks and (lock := _renewal(settings, keep, each, locks[each.set.id], now))
    }
    kept = [_kept_while_locked(each, locked.get(each.set.id)) for each in decisions]
    return LockPlan(tuple(kept), locked, renewals)


def _renewal(
    settings: LockSettings, keep: Keep, decision: Decision[Set], current: ObjectLock | None, now: datetime
) -> ObjectLock | None:
    started = decision.set.started
    return lock_to_renew(settings, keep, decision.reasons, started=started, current=current, now=now)


def _kept_while_locked(decision: Decision[Set], until: datetime | None) -> Decision[Set]:
    if until is None:
        return decision
    return replace(decision, keep=True, reasons=(f"locked until {until:%Y-%m-%d %H:%M}",))


def witness_key(backup_set: Set) -> str:
    """Return the key whose lock stands for the whole set: it is locked together with the others, and renewed last."""
    return backup_set.prefix + (backup_set.marker.name if backup_set.marker is not None else MANIFEST)


def renew_locks(
    store: Store,
    sets: Sequence[Set],
    names: Mapping[str, Sequence[str]],
    renewals: Mapping[str, ObjectLock],
    check: Callable[[], None],
) -> tuple[int, Sequence[NotRenewed]]:
    """Renew the locks of these sets; return of how many, and which could not be renewed."""
    failed = []
    renewing = [each for each in sets if each.id in renewals]
    with ThreadPoolExecutor(WORKERS) as pool:
        for each in renewing:
            check()
            witness, lock = witness_key(each), renewals[each.id]
            keys = [each.prefix + name for name in lockable_names(names[each.id])]
            try:
                list(pool.map(partial(_extend, store, lock), [key for key in keys if key != witness]))
                store.extend_lock(witness, lock)  # last: if the run is killed before, the next one goes on
            except StoreError as error:
                failed.append(NotRenewed(each.id, str(error)))
    return len(renewing) - len(failed), failed


def _extend(store: Store, lock: ObjectLock, key: str) -> None:
    store.extend_lock(key, lock)
