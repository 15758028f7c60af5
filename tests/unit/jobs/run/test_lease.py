import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import jobs.log
from jobs.run import Failed
from jobs.run.lease import Holder, Lock, LockHeld, acquire, holder_from, holder_to, lock_held
from jobs.store import Missing, NotConditional, OutOfReach, Store
from tests.parts.runs import store_in, until

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MINE = Holder("20260505T100000Z-aaaaaa", "runner-1", 11, NOON, 60, NOON)
OTHER = Holder("20260505T090000Z-bbbbbb", "runner-2", 22, NOON, 60, NOON)
LOG = jobs.log.get()


def lock_on(store: Store, now: Callable[[], datetime] = lambda: NOON) -> Lock:
    return Lock("production", "backup/shop", BERLIN, store, now)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return lock_on(store_in(tmp_path))


def taken(lock: Lock, holder: Holder, *, patient: bool = False) -> Any:
    return acquire(lock, holder, time.sleep, LOG, patient=patient)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (4, "since 12:00:00 (alive, renewed 4 s ago)"),
        (22, "since 12:00:00 (alive, renewed 22 s ago)"),
        (40, "since 12:00:00 (last renewed 40 s ago, perhaps dead)"),
        (86_400, "since 2026-05-05 12:00:00 (last renewed 86400 s ago, perhaps dead)"),
    ],
)
def test_a_held_lock_says_who_and_whether_he_lives(seconds: int, says: str) -> None:
    error = lock_held("production", "backup/shop", OTHER, NOON + timedelta(seconds=seconds), BERLIN)
    assert str(error) == (
        f"production: lock backup/shop is held by runner-2 {says}; "
        "it ends by itself, or: crew runs production backup shop"
    )


def test_a_holder_comes_back_as_it_was_written() -> None:
    holder = replace(MINE, renewed=NOON, released=NOON, took_over="x", renewals=3, attempts=2)
    assert holder_from("key", holder_to(holder)) == holder


def test_a_free_lock_is_taken_held_and_taken_again_after_its_release(lock: Lock) -> None:
    lease = taken(lock, OTHER)
    with pytest.raises(LockHeld):
        taken(lock, MINE)
    lease.release()
    assert lock.read()[0].released == NOON
    assert taken(lock, MINE).holder.took_over is None
    assert lock.read()[0].run == MINE.run


def test_one_of_many_wins(lock: Lock) -> None:
    won: list[str] = []
    taken(lock, OTHER).release()

    def one(number: int) -> None:
        with suppress(LockHeld):
            won.append(taken(lock, replace(MINE, run=f"run-{number}")).holder.run)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lock.read()[0].run] == won


def test_a_dead_holder_is_followed_after_his_lease_and_named(lock: Lock) -> None:
    begun = time.monotonic()
    taken(lock, replace(OTHER, seconds=0.2, since=datetime.now(UTC)))
    heir = taken(replace(lock, now=lambda: datetime.now(UTC)), MINE, patient=True)
    assert time.monotonic() - begun >= 0.2
    assert heir.holder.took_over == f"{OTHER.run} on runner-2 (pid 22)"
    assert heir.holder.attempts == 2, "the same tick was begun before"


def test_a_holder_who_was_killed_on_this_machine_is_followed_without_patience(lock: Lock) -> None:
    here = replace(OTHER, host=socket.gethostname(), seconds=0.2, since=datetime.now(UTC))
    lock = replace(lock, now=lambda: datetime.now(UTC))
    ended = subprocess.Popen(["true"])
    ended.wait()
    lease = taken(lock, replace(here, pid=os.getpid(), seconds=60))
    with pytest.raises(LockHeld):
        taken(lock, MINE)
    lease.release()
    taken(lock, replace(here, run="killed", pid=ended.pid))
    assert taken(lock, MINE).holder.took_over == f"killed on {here.host} (pid {ended.pid})"


def test_a_holder_whose_clock_is_behind_is_alive_if_he_is_seen_to_renew(lock: Lock) -> None:
    behind = replace(lock, now=lambda: NOON - timedelta(hours=1))
    alive = taken(behind, replace(OTHER, seconds=0.4, since=NOON - timedelta(hours=1)))
    alive.keep(pytest.fail)
    with pytest.raises(LockHeld, match="runner-2"):
        taken(lock, MINE)
    alive.release()


def test_a_holder_whose_clock_is_far_ahead_is_followed_once_he_is_silent(lock: Lock) -> None:
    taken(lock, replace(OTHER, seconds=0.2, since=NOON + timedelta(hours=1)))
    assert taken(lock, MINE, patient=True).holder.took_over


def test_a_patient_run_takes_the_lock_when_it_is_released(lock: Lock) -> None:
    lease = taken(lock, OTHER)
    threading.Timer(0.05, lease.release).start()
    assert taken(lock, replace(MINE, seconds=1), patient=True).holder.took_over is None


class Answers:
    """A store whose answers to a call get lost: it wrote, and says that it could not."""

    def __init__(self, store: Store, lost: str, error: Exception, wrote: bool) -> None:
        self._store, self._lost, self._error, self._wrote = store, lost, error, wrote
        self.on = True

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        return self._failing(real) if self.on and name == self._lost else real

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> None:
            if self._wrote:
                real(*args)
            raise self._error

        return call


def test_a_creation_whose_answer_was_lost_is_known_as_our_own(tmp_path: Path) -> None:
    store = Answers(store_in(tmp_path), "create", OutOfReach("lost"), wrote=True)
    with pytest.raises(OutOfReach):
        taken(lock_on(store), MINE)
    assert taken(lock_on(store_in(tmp_path)), MINE).holder == MINE


def test_a_renewal_whose_answer_was_lost_does_not_lose_the_lock(tmp_path: Path) -> None:
    store = Answers(store_in(tmp_path), "replace", OutOfReach("lost"), wrote=True)
    lease = taken(lock_on(store), MINE)
    with pytest.raises(OutOfReach):
        lease.renew()
    store.on = False
    lease.renew()
    lease.release()
    assert lock_on(store_in(tmp_path)).read()[0].released


def test_a_lease_that_cannot_be_renewed_until_it_ran_out_is_lost(tmp_path: Path) -> None:
    store = Answers(store_in(tmp_path), "replace", OutOfReach("no route"), wrote=False)
    lease = taken(lock_on(store), replace(MINE, seconds=0.2))
    lost: list[str] = []
    lease.keep(lost.append)
    until(lambda: lost)
    assert lost == ["its lock was lost: no route"]
    assert lease.left() <= 0


def test_a_lock_that_was_deleted_is_lost(lock: Lock) -> None:
    lease = taken(lock, replace(MINE, seconds=0.1))
    lost: list[str] = []
    lease.keep(lost.append)
    lock.store.delete([lock.key])
    until(lambda: lost)
    lease.release()
    with pytest.raises(Missing):
        lock.read()


def test_no_lock_on_a_store_that_ignores_conditions(tmp_path: Path) -> None:
    store = Answers(store_in(tmp_path), "require_conditions", NotConditional("rclone"), wrote=False)
    with pytest.raises(NotConditional):
        taken(lock_on(store), MINE)
    assert list(store_in(tmp_path).list()) == []


def test_a_lock_of_a_newer_groundcrew_is_not_touched(lock: Lock) -> None:
    lock.store.create(lock.key, b'{"format": 2}')
    with pytest.raises(Failed, match="has format 2, and this groundcrew reads 1"):
        taken(lock, MINE)
