"""Object lock in retention: keeps what is still locked, and renews the locks of sets that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from jobs.backup import LOCKS_AT_ONCE, LockSettings, Set, lock_set, lock_to_renew, witness_key
from jobs.retention.policy import Decision
from jobs.store import ObjectLock, Store, StoreError

if TYPE_CHECKING:
    from inventories import Keep


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
    with ThreadPoolExecutor(LOCKS_AT_ONCE) as pool:
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
    for each in renewing:
        check()
        try:
            lock_set(store, each, names[each.id], renewals[each.id], check)
        except StoreError as error:
            failed.append(NotRenewed(each.id, str(error)))
    return len(renewing) - len(failed), failed
