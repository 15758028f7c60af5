"""A lock is a lease in the store: created if absent, renewed while its holder lives, released by a record in it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from inventories import CrewError, ExitCode
from jobs.run.documents import from_body, from_iso, to_body, to_iso
from jobs.store import Changed, Exists, Missing, OutOfReach, Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

RENEWALS = 4  # a lease is renewed this many times over its length, so that a few may fail


@dataclass(frozen=True, slots=True)
class Holder:
    """What a lock says of the run that holds it, or held it last."""

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

    @property
    def seen(self) -> datetime:
        return self.renewed or self.since

    @property
    def interval(self) -> timedelta:
        return timedelta(seconds=self.seconds / RENEWALS)

    def overdue(self, now: datetime) -> bool:
        """No renewal for longer than a live holder would need, if both clocks agree."""
        return now - self.seen > 1.5 * self.interval

    def expired(self, now: datetime) -> bool:
        return now - self.seen > timedelta(seconds=self.seconds)


def holder_from(key: str, body: bytes) -> Holder:
    return from_body(key, body, _holder_of)


def _holder_of(fields: dict[str, Any]) -> Holder:
    moments = {name: from_iso(fields.get(name)) for name in ("since", "tick", "renewed", "released")}
    return Holder(**{**fields, **moments})


def holder_to(holder: Holder) -> bytes:
    return to_body({name: to_iso(v) if isinstance(v, datetime) else v for name, v in asdict(holder).items()})


class LockHeld(CrewError):
    """Another run holds the lock; the message names the holder, the time, and whether it is alive."""

    exit_code = ExitCode.LOCK_HELD


def lock_held(environment: str, name: str, holder: Holder, now: datetime, zone: ZoneInfo) -> LockHeld:
    """The sentence for a lock that somebody else has."""
    ago = max(0, round((now - holder.seen).total_seconds()))
    alive = f"last renewed {ago} s ago, perhaps dead" if holder.overdue(now) else f"alive, renewed {ago} s ago"
    since = holder.since.astimezone(zone)
    day = "" if since.date() == now.astimezone(zone).date() else f"{since:%Y-%m-%d} "
    return LockHeld(
        f"{environment}: lock {name} is held by {holder.host} since {day}{since:%H:%M:%S} ({alive}); "
        f"it ends by itself, or: crew runs {environment} {name.replace('/', ' ')}"
    )


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock of an environment, named `<job>/<subject>`."""

    environment: str
    name: str
    zone: ZoneInfo
    store: Store
    now: Callable[[], datetime]

    @property
    def key(self) -> str:
        return f"{self.environment}/locks/{self.name}.json"

    def read(self) -> tuple[Holder, str]:
        found = self.store.get(self.key)
        return holder_from(self.key, found.body), found.version


def acquire(
    lock: Lock, wanted: Holder, wait: Callable[[float], object], log: FilteringBoundLogger, *, patient: bool
) -> Lease:
    """Take a lock or raise Held. Someone patient watches a live holder for a renewal before he believes in it.

    So does whoever finds that the holder's process is gone: he was killed, and nobody should have to try again.
    """
    lock.store.require_conditions()
    while True:
        try:
            return Lease(lock, wanted, lock.store.create(lock.key, holder_to(wanted)))
        except Exists:
            pass
        try:
            return _take_from(lock, wanted, wait, log, patient=patient)
        except (Changed, Missing):
            wait(0.02)  # somebody was faster: see what he made of it


def process_is_gone(holder: Holder) -> bool:
    """Whether no process here is the holder's, who said that he is here; a container may have this machine's name."""
    if holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.pid, 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return False


def _take_from(
    lock: Lock, wanted: Holder, wait: Callable[[float], object], log: FilteringBoundLogger, *, patient: bool
) -> Lease:
    found, version = lock.read()
    if found.run == wanted.run:  # our own creation, whose answer was lost on the way
        return Lease(lock, wanted, version)
    if found.released is None:
        if not patient and not found.overdue(lock.now()) and not process_is_gone(found):
            raise lock_held(lock.environment, lock.name, found, lock.now(), lock.zone)
        log.info("lock is held: watching whether its holder lives", lock=lock.name, by=found.run, host=found.host)
        found, version = _watched(lock, found, version, wait)
    if found.released is None:
        wanted = _heir(wanted, found)
        log.warning("lock taken over", lock=lock.name, run_that_died=found.run, host=found.host, pid=found.pid,
                    last_seen=to_iso(found.seen))  # fmt: skip
    return Lease(lock, wanted, lock.store.replace(lock.key, holder_to(wanted), version))


def _heir(wanted: Holder, dead: Holder) -> Holder:
    attempts = dead.attempts + 1 if wanted.tick and wanted.tick == dead.tick else 1
    return replace(wanted, attempts=attempts, took_over=f"{dead.run} on {dead.host} (pid {dead.pid})")


def _watched(lock: Lock, found: Holder, version: str, wait: Callable[[float], object]) -> tuple[Holder, str]:
    """A holder that is gone: released, or silent over its lease and over a renewal interval of our own watching.

    The clocks of two hosts may differ, so that only a renewal that is seen, or its absence, proves anything.
    """
    watched, pause = time.monotonic(), 0.02
    at_least = 1.5 * found.interval.total_seconds()
    while not (found.expired(lock.now()) and time.monotonic() - watched > at_least):
        wait(pause)
        pause = min(1.0, pause * 1.5)
        latest, seen = lock.read()
        if seen != version and latest.released is None:
            raise lock_held(lock.environment, lock.name, latest, lock.now(), lock.zone)
        if latest.released is not None:
            return latest, seen
        if time.monotonic() - watched > found.seconds + at_least:  # its clock is far ahead of ours
            break
    return found, version


class Lease:
    """A lock that is ours, kept by a thread until it is released or lost."""

    def __init__(self, lock: Lock, holder: Holder, version: str) -> None:
        self.holder = holder
        self.lost = False
        self._lock = lock
        self._version = version
        self._asked = time.monotonic()
        self._one_at_a_time = threading.Lock()
        self._over = threading.Event()

    def left(self) -> float:
        """Seconds until somebody else may take it, unless it is renewed."""
        return self._asked + self.holder.seconds - time.monotonic()

    def keep(self, lost: Callable[[str], object]) -> None:
        """Renew it from now on; `lost` is told why if it cannot be kept."""
        threading.Thread(target=self._renewing, args=(lost,), name=f"lease {self._lock.name}", daemon=True).start()

    def _renewing(self, lost: Callable[[str], object]) -> None:
        usual = self.holder.interval.total_seconds()
        pause = usual
        while not self._over.wait(pause):
            try:
                self.renew()
                pause = usual
            except OutOfReach as error:
                pause = usual / 4
                if self.left() <= 0:
                    self._lose(lost, str(error))
            except Exception as error:  # whatever it was, we can't know that the lock is still ours
                self._lose(lost, str(error))

    def _lose(self, lost: Callable[[str], object], why: str) -> None:
        self.lost = True
        self._over.set()
        lost(f"its lock was lost: {why}")

    def renew(self) -> None:
        now = self._lock.now()
        self._write(replace(self.holder, renewed=now, renewals=self.holder.renewals + 1))

    def release(self) -> None:
        """Say in the lock that it is free. A lock that was lost is somebody else's by now."""
        if self.lost:
            return
        self._over.set()
        self._write(replace(self.holder, released=self._lock.now()))

    def _write(self, holder: Holder) -> None:
        with self._one_at_a_time:
            if self._over.is_set() and holder.released is None:
                return  # a renewal that was on its way when the lock was released
            asked = time.monotonic()
            try:
                self._version = self._lock.store.replace(self._lock.key, holder_to(holder), self._version)
            except (Changed, Missing) as error:
                self._version = self._ours(error)
                self._version = self._lock.store.replace(self._lock.key, holder_to(holder), self._version)
            self.holder, self._asked = holder, asked

    def _ours(self, error: StoreError) -> str:
        """The version that is there, if we wrote it ourselves and the answer was lost on the way."""
        found, version = self._lock.read()
        if found.run != self.holder.run:
            raise Changed(f"{self._lock.name} was taken by run {found.run} on {found.host}") from error
        return version
