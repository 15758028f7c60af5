"""Locks in the store. A lock is a lease: created if absent, renewed while its holder lives, then marked as released.

Its document also keeps what the runs of its subject did (see latest.py), which the next run needs with the lock.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from inventories import CrewError, ExitCode
from jobs.run.documents import CLOCK_SKEW, document_fields, from_body, from_iso, to_body, to_iso
from jobs.run.latest import NO_RUNS, SubjectRuns, parse_subject_runs
from jobs.store import Changed, Exists, Expired, Missing, OutOfReach, Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

_LONGEST, _LARGEST_PID = 3600, 2**31 - 1  # leases last a minute: nobody may block a job for much longer
RENEWALS = 4  # renewals per length of a lease, so that a few of them can fail


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that holds a lock, or held it last, as the lock names it."""

    run: str
    host: str
    pid: int
    since: datetime
    seconds: float
    tick: datetime | None = None
    attempts: int = 1
    renewals: int = 0
    renewed: datetime | None = None
    released: datetime | None = None
    took_over: str | None = None
    user: str = ""
    command: str = ""
    runs: SubjectRuns = NO_RUNS

    @property
    def last_renewed(self) -> datetime:
        return self.renewed or self.since

    @property
    def renewal_interval(self) -> timedelta:
        return timedelta(seconds=self.seconds / RENEWALS)

    def overdue(self, now: datetime) -> bool:
        """Whether a renewal is missing that a live holder would have made, if both clocks agree."""
        return now - self.last_renewed > 1.5 * self.renewal_interval or self._is_ahead(now)

    def expired(self, now: datetime) -> bool:
        return now > self.expires or self._is_ahead(now)

    def _is_ahead(self, now: datetime) -> bool:
        """Whether its time of renewal is in the future, and so proves nothing."""
        return self.last_renewed > now + CLOCK_SKEW

    @property
    def expires(self) -> datetime:
        """The end of the lease, unless it is renewed."""
        return self.last_renewed + timedelta(seconds=self.seconds)


def holder_from(key: str, body: bytes) -> Holder:
    return from_body(key, body, _parse)


def _parse(fields: dict[str, Any]) -> Holder:
    times: dict[str, Any] = {name: from_iso(fields.get(name)) for name in ("since", "tick", "renewed", "released")}
    runs = parse_subject_runs(fields["runs"]) if "runs" in fields else NO_RUNS
    if not 0 < fields["seconds"] <= _LONGEST or not 0 < fields["pid"] <= _LARGEST_PID:
        raise ValueError("seconds or pid is out of range")
    return Holder(**{**fields, **times, "runs": runs})


def holder_to(holder: Holder) -> bytes:
    return to_body(document_fields(holder))


class LockHeld(CrewError):
    """Another run holds the lock; the message names the holder, the time, and whether it is alive."""

    exit_code = ExitCode.LOCK_HELD


def lock_held_error(environment: str, name: str, holder: Holder, now: datetime, zone: ZoneInfo) -> LockHeld:
    """Return the error for a lock that another run holds."""
    ago = max(0, round((now - holder.last_renewed).total_seconds()))
    alive = f"last renewed {ago} s ago, perhaps dead" if holder.overdue(now) else f"alive, renewed {ago} s ago"
    since = holder.since.astimezone(zone)
    day = "" if since.date() == now.astimezone(zone).date() else f"{since:%Y-%m-%d} "
    return LockHeld(
        f"{environment}: lock {name} is held by {holder.host} since {day}{since:%H:%M:%S} ({alive}). "
        f"Wait for it, or see: crew runs {environment} {name.replace('/', ' ')}"
    )


def lock_prefix(environment: str) -> str:
    """Return the prefix of the keys of all locks of an environment."""
    return f"{environment}/locks/"


def lock_key(environment: str, job: str, subject: str) -> str:
    """Return the key of a lock."""
    return f"{lock_prefix(environment)}{job}/{subject}.json"


def read_holder(store: Store, environment: str, job: str, subject: str) -> Holder | None:
    """Return the last holder of a lock; None if there is no lock."""
    key = lock_key(environment, job, subject)
    try:
        return holder_from(key, store.get(key).body)
    except Missing:
        return None


@dataclass(frozen=True, slots=True)
class Lock:
    """The lock of one subject of a job."""

    environment: str
    job: str
    subject: str
    zone: ZoneInfo
    store: Store
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        return f"{self.job}/{self.subject}"

    @property
    def key(self) -> str:
        return lock_key(self.environment, self.job, self.subject)

    def read(self) -> tuple[Holder, str]:
        stored = self.store.get(self.key)
        return holder_from(self.key, stored.body), stored.version

    def held_by(self, holder: Holder) -> LockHeld:
        return lock_held_error(self.environment, self.name, holder, self.now(), self.zone)


class KnownLock(NamedTuple):
    """A lock that was free when somebody read it: its last holder and its version. It can have changed since."""

    holder: Holder
    version: str


def acquire(
    lock: Lock,
    holder: Holder,
    wait: Callable[[float], object],
    log: FilteringBoundLogger,
    *,
    patient: bool,
    idle: Callable[[], AbstractContextManager[object]] = nullcontext,
    known: KnownLock | None = None,
) -> Lease:
    """Acquire a lock for a holder, or raise LockHeld.

    If the lock has not changed since it was `known`, it is not read again.

    If `patient`, or if the other holder's process is gone from this host, wait whether the other holder renews its
    lease. If it does not, take the lock over. This can take as long as the lease, and happens inside `idle`.
    """
    lock.store.require_conditional_writes()
    if known is not None:
        with suppress(Changed, Missing):
            return _succeed(lock, holder, known.holder, known.version)
    while True:
        try:
            return _acquire_from(lock, holder, wait, log, patient=patient, idle=idle)
        except Missing:
            with suppress(Exists):
                return Lease(lock, holder, lock.store.create(lock.key, holder_to(holder)))
        except Changed:
            pass
        wait(0.02)  # another run was faster: read the lock again


def process_is_gone(holder: Holder) -> bool:
    """Return whether the holder ran on this host and its process is gone. A container can share this host's name."""
    if holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.pid, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _acquire_from(
    lock: Lock,
    holder: Holder,
    wait: Callable[[float], object],
    log: FilteringBoundLogger,
    *,
    patient: bool,
    idle: Callable[[], AbstractContextManager[object]],
) -> Lease:
    other, version = lock.read()
    if other.run == holder.run:  # we wrote it, but the store's answer was lost
        return Lease(lock, other, version)
    if other.released is None:
        if not patient and not other.overdue(lock.now()) and not process_is_gone(other):
            raise lock.held_by(other)
        longest = _longest_wait(holder, other)
        until = min(max(other.expires, lock.now() + 1.5 * other.renewal_interval), lock.now() + longest)
        log.info("lock held by another run, checking whether that run is alive", lock=lock.name, by=other.run,
                 host=other.host, until=f"{until.astimezone(UTC):%H:%M:%S} UTC")  # fmt: skip
        with idle():
            other, version = _wait_for_renewal(lock, other, version, wait, longest)
        holder = replace(holder, since=lock.now())
    if other.released is None:
        holder = _successor(holder, other)
        log.warning("lock taken over", lock=lock.name, run_that_died=other.run, host=other.host, pid=other.pid,
                    last_renewed=to_iso(other.last_renewed))  # fmt: skip
    return _succeed(lock, holder, other, version)


def _succeed(lock: Lock, holder: Holder, other: Holder, version: str) -> Lease:
    """Take a lock over from its last holder; Changed if it no longer has this version."""
    holder = replace(holder, runs=other.runs)
    version = lock.store.replace(lock.key, holder_to(holder), version)
    return Lease(lock, holder, version, died=other if other.released is None else None)


def _successor(holder: Holder, dead: Holder) -> Holder:
    attempts = dead.attempts + 1 if holder.tick and holder.tick == dead.tick else 1
    return replace(holder, attempts=attempts, took_over=f"{dead.run} on {dead.host} (pid {dead.pid})")


def _longest_wait(holder: Holder, other: Holder) -> timedelta:
    """Return how long a run waits for another one: the other's lease and an interval, but not more than its own."""
    return timedelta(seconds=min(holder.seconds, other.seconds) * (1 + 1.5 / RENEWALS))


def _wait_for_renewal(
    lock: Lock, other: Holder, version: str, wait: Callable[[float], object], longest: timedelta
) -> tuple[Holder, str]:
    """Return a holder that has released its lock or died; LockHeld if it renews its lease.

    The clocks of two hosts can differ. So a holder counts as dead only if its lease has expired, and if we have seen
    no renewal for longer than a renewal interval; or after the longest wait.
    """
    started, pause = time.monotonic(), 0.02
    at_least = 1.5 * other.renewal_interval.total_seconds()
    while not (other.expired(lock.now()) and time.monotonic() - started > at_least):
        wait(pause)
        pause = min(1.0, pause * 1.5)
        latest, latest_version = lock.read()
        if latest_version != version and latest.released is None:
            raise lock.held_by(latest)
        if latest.released is not None:
            return latest, latest_version
        if time.monotonic() - started > longest.total_seconds():  # its clock is ahead of ours, or its lease too long
            break
    return other, version


class Lease:
    """A lock that this run holds. A thread renews it until it is released or lost.

    `runs` goes into the lock's document with the next renewal or the release; `died` held the lock before and died.
    """

    def __init__(self, lock: Lock, holder: Holder, version: str, died: Holder | None = None) -> None:
        self.holder = holder
        self.version = version
        self.runs = holder.runs
        self.died = died
        self.body = b""
        """The document of the lock, as this lease wrote it last."""
        self.lost = False
        self._grace = 0.0
        self._lock = lock
        self._renewed = time.monotonic()
        self._writing = threading.Lock()
        self._over = threading.Event()

    def seconds_left(self) -> float:
        """Return the seconds until another run can take the lock, unless it is renewed."""
        return self._renewed + self.holder.seconds - time.monotonic()

    def seconds_until_lost(self) -> float:
        """Return the seconds until the lock counts as lost, unless it is renewed."""
        return self.seconds_left() + self._grace

    def keep(self, on_lost: Callable[[str], object], grace: timedelta = timedelta(0)) -> None:
        """Renew the lease from now on. If that fails for good, call `on_lost` with the reason.

        While the store is out of reach, an expired lease can still be renewed for the time `grace`: the renewal fails
        if another run has taken the lock over.
        """
        self._grace = grace.total_seconds()
        threading.Thread(
            target=self._keep_renewing, args=(on_lost,), name=f"lease {self._lock.name}", daemon=True
        ).start()

    def _keep_renewing(self, on_lost: Callable[[str], object]) -> None:
        usual = self.holder.renewal_interval.total_seconds()
        pause = usual
        while not self._over.wait(pause):
            try:
                self.renew()
                pause = usual
            except (OutOfReach, Expired) as error:
                pause = usual / 4
                if self.seconds_until_lost() <= 0:
                    self._lose(on_lost, str(error))
            except Exception as error:  # after any error we cannot know that we still hold the lock
                self._lose(on_lost, str(error))

    def _lose(self, on_lost: Callable[[str], object], why: str) -> None:
        self.lost = True
        self._over.set()
        on_lost(f"its lock was lost: {why}")

    def confirm(self) -> None:
        """Renew the lease if it has expired; raise if another run has taken the lock over."""
        if self.seconds_left() <= 0:
            self.renew()

    def renew(self) -> None:
        now = self._lock.now()
        self._write(replace(self.holder, renewed=now, renewals=self.holder.renewals + 1))

    def release(self) -> None:
        """Mark the lock as released. A lost lock belongs to another run by now, so leave it alone."""
        if self.lost:
            return
        self._over.set()
        self._write(replace(self.holder, released=self._lock.now()))

    def _write(self, holder: Holder) -> None:
        with self._writing:
            if self._over.is_set() and holder.released is None:
                return  # a renewal that began before the release
            started, holder = time.monotonic(), replace(holder, runs=self.runs)
            self.body = holder_to(holder)
            try:
                self.version = self._lock.store.replace(self._lock.key, self.body, self.version)
            except (Changed, Missing) as error:
                self.version = self._version_if_ours(error)
                self.version = self._lock.store.replace(self._lock.key, self.body, self.version)
            self.holder, self._renewed = holder, started

    def _version_if_ours(self, error: StoreError) -> str:
        """Return the stored version if we wrote it and the store's answer was lost."""
        stored, version = self._lock.read()
        if stored.run != self.holder.run:
            raise Changed(f"{self._lock.name} was taken by run {stored.run} on {stored.host}") from error
        return version
