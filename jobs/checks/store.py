"""Can every job write to the store, read from it, and hold a lock in it?"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from inventories import Environment
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.store import Store, StoreSettings, open_store

SKEW_WARNING = timedelta(seconds=10)
SKEW_FAULT = timedelta(minutes=5)


def checks(environment: Environment) -> Iterator[Check]:
    """The store, as each profile that the file names sees it."""
    settings, name = environment.store, environment.name
    if settings is None:
        yield Check("store", lambda: warn("there is no [store]", "add one before anything is to be run or kept"))
        return
    for job in (None, *settings.profiles):
        as_job = f" as {job}" if job else ""
        yield Check(f"store{as_job}", partial(_opened, settings, job, partial(check_access, name=name, whose=job)))
        yield Check(f"locks{as_job}", partial(_opened, settings, job, check_conditional_writes))
    yield Check("clock", partial(_opened, settings, None, partial(check_clock, name=name)))


def _opened(settings: StoreSettings, job: str | None, look: Callable[[Store], CheckResult]) -> CheckResult:
    return look(open_store(settings, job))


def check_access(store: Store, name: str, whose: str | None) -> CheckResult:
    """Write a small key of our own, find it in a listing and read it back; it stays, since nobody need delete it."""
    key, word = f"{name}/check/{whose or 'any'}", secrets.token_hex(8).encode()
    store.put(key, word)
    if store.get(key).body != word:
        return fault(f"{store.url} gave back something else than was written", "look for a cache in between")
    if not any(entry.key == key for entry in store.list(key)):
        return fault(f"{store.url} does not list what was just written", "listing must be consistent; ask its vendor")
    return ok(f"{store.url} is written, read and listed")


def check_conditional_writes(store: Store) -> CheckResult:
    """Whether of two writers one loses."""
    store.require_conditions()
    return ok("of two writers only one wins")


def check_clock(store: Store, name: str) -> CheckResult:
    """How far this machine's clock is from the store's."""
    key = f"{name}/check/clock"
    before = datetime.now(UTC)
    store.put(key, b"tick")
    entry = next(entry for entry in store.list(key) if entry.key == key)
    return judge_skew(entry.modified - before)


def judge_skew(ahead: timedelta) -> CheckResult:
    """The verdict on a difference of clocks: leases, ticks and names of sets are told by them."""
    seconds = round(abs(ahead.total_seconds()))
    which = "behind" if ahead > timedelta() else "ahead of"
    fact = f"this machine's clock is {seconds} s {which} the store's"
    if abs(ahead) > SKEW_FAULT:
        return fault(fact, "set it right (timedatectl, chrony)")
    if abs(ahead) > SKEW_WARNING:
        return warn(fact, "set it right (timedatectl, chrony)")
    return ok("agrees with the store's")
