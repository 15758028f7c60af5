"""Check that every job can write, read and list the store and use it for locks, and that the clock is right."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from inventories import CopySettings, Environment
from jobs.backup import open_copy
from jobs.checks.check import Check, CheckResult, fault, ok, warn
from jobs.store import LockProof, ObjectLock, Store, StoreOptions, open_store, require_another_place, require_mark

SKEW_WARNING = timedelta(seconds=10)
SKEW_FAULT = timedelta(minutes=5)
TEST_LOCK = timedelta(minutes=2)


def checks(environment: Environment) -> Iterator[Check]:
    """Yield checks of the store with each AWS profile that the file names."""
    settings, name = environment.store, environment.name
    if settings is None:
        yield Check("store", lambda: warn("[store] is missing", "add it before you run jobs or take backups"))
        return
    for job in (None, *settings.profiles):
        as_job = f" as {job}" if job else ""
        access = partial(check_access, name=name, job=job)
        with_store = partial(_with_store, settings, name, job)
        yield Check(f"store{as_job}", partial(with_store, access))
        yield Check(f"locks{as_job}", partial(with_store, check_conditional_writes))
        if settings.lock is not None:
            proof = partial(check_object_lock, name=name, job=job, compliance=settings.lock_mode == "compliance")
            yield Check(f"object lock{as_job}", partial(with_store, proof))
    for copy in environment.copies.values():
        yield Check(f"copy {copy.name}", partial(check_copy, environment, copy))
        if copy.lock is not None:
            yield Check(f"object lock of copy {copy.name}", partial(check_lock_of_copy, environment, copy))
    yield Check("clock", partial(_with_store, settings, name, None, partial(check_clock, name=name)))


def _with_store(
    settings: StoreOptions, name: str, job: str | None, check: Callable[[Store], CheckResult]
) -> CheckResult:
    store = open_store(settings, job)
    require_mark(store, name)
    return check(store)


def check_copy(environment: Environment, copy: CopySettings) -> CheckResult:
    """Check that the copy job can write, read and list the store of a copy."""
    place = open_copy(environment, copy, "copy")
    if environment.store is not None:
        store = open_store(environment.store, "copy")
        require_another_place(place, store, environment.name, f"copies.{copy.name}.url")
    return check_access(place, environment.name, f"copy-{copy.name}")


def check_lock_of_copy(environment: Environment, copy: CopySettings) -> CheckResult:
    """Check that the store of a copy refuses to delete a locked object."""
    store, compliance = open_copy(environment, copy, "copy"), copy.lock_mode == "compliance"
    return check_object_lock(store, environment.name, f"copy-{copy.name}", compliance=compliance)


def check_access(store: Store, name: str, job: str | None) -> CheckResult:
    """Write a small key, list it and read it back. The key stays, because jobs do not need the right to delete."""
    key, word = f"{name}/check/{job or 'any'}", secrets.token_hex(8).encode()
    store.put(key, word)
    if store.get(key).body != word:
        return fault(
            f"{store.url} returned different content than was written", "look for a cache in front of the store"
        )
    if not any(entry.key == key for entry in store.list(key)):
        return fault(
            f"{store.url} does not list a key that was just written",
            "use a store with strongly consistent listings",
        )
    return ok(f"{store.url}: write, read and list work")


def check_conditional_writes(store: Store) -> CheckResult:
    """Check that the store refuses the second of two conflicting writes, as locks require."""
    store.require_conditional_writes()
    return ok("conditional writes work")


def check_object_lock(store: Store, name: str, job: str | None, *, compliance: bool) -> CheckResult:
    """Write a small object with a short lock, and try to delete it."""
    lock = ObjectLock(datetime.now(UTC).replace(microsecond=0) + TEST_LOCK, compliance)
    return judge_lock(store.prove_lock(f"{name}/check/lock-{job or 'any'}", lock))


def judge_lock(proof: LockProof) -> CheckResult:
    """Return the verdict on object lock: only a lock that these credentials cannot lift protects from their thief."""
    if not proof.has_versions:
        return fault("the bucket keeps no versions, so its objects cannot be locked", "enable versioning")
    if not proof.refused:
        return fault("the store deleted a locked object", "use a server with S3 object lock")
    if proof.lifted:
        return warn(
            "these credentials can lift the locks of backups",
            'take s3:BypassGovernanceRetention away from them, or set lock_mode = "compliance"',
        )
    return ok("the store keeps versions and refuses to delete a locked object")


def check_clock(store: Store, name: str) -> CheckResult:
    """Compare this machine's clock with the store's."""
    key = f"{name}/check/clock"
    before = datetime.now(UTC)
    store.put(key, b"tick")
    entry = next(entry for entry in store.list(key) if entry.key == key)
    return judge_skew(entry.modified - before)


def judge_skew(ahead: timedelta) -> CheckResult:
    """Return the verdict on the store's lead over this clock: locks, schedules and set names depend on the clock."""
    seconds = round(abs(ahead.total_seconds()))
    direction = "behind" if ahead > timedelta() else "ahead of"
    fact = f"this machine's clock is {seconds} s {direction} the store's clock"
    if abs(ahead) > SKEW_FAULT:
        return fault(fact, "synchronise it with NTP (timedatectl, chrony)")
    if abs(ahead) > SKEW_WARNING:
        return warn(fact, "synchronise it with NTP (timedatectl, chrony)")
    return ok("in sync with the store's clock")
