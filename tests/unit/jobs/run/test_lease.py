"""Locks: acquire, renew, release, and take over from a dead holder."""

from __future__ import annotations

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
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

import jobs.log
from jobs.run import Failed
from jobs.run.lease import Holder, Lock, LockHeld, acquire, holder_from, holder_to, lock_held_error, read_holder
from jobs.store import Changed, Missing, NotConditional, OutOfReach, Store
from tests.parts.patience import deadline, until
from tests.parts.runs import store_in

NOON = datetime(2026, 5, 5, 10, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
MINE = Holder("20260505T100000Z-aaaaaa", "runner-1", 11, NOON, 60, NOON)
OTHER = Holder("20260505T090000Z-bbbbbb", "runner-2", 22, NOON, 60, NOON)
LOG = jobs.log.get()


def lock_on(store: Store, now: Callable[[], datetime] = lambda: NOON) -> Lock:
    return Lock("production", "backup", "shop", BERLIN, store, now)


@pytest.fixture
def lock(tmp_path: Path) -> Lock:
    return lock_on(store_in(tmp_path))


def acquired(lock: Lock, holder: Holder, *, patient: bool = False) -> Any:
    return acquire(lock, holder, time.sleep, LOG, patient=patient)


@pytest.mark.parametrize(
    ("seconds", "holder"),
    [
        (4, "since 12:00:00 (alive, renewed 4 s ago)"),
        (22, "since 12:00:00 (alive, renewed 22 s ago)"),
        (40, "since 12:00:00 (last renewed 40 s ago, perhaps dead)"),
        (86_400, "since 2026-05-05 12:00:00 (last renewed 86400 s ago, perhaps dead)"),
    ],
)
def test_the_error_for_a_held_lock_says_whether_its_holder_is_alive(seconds: int, holder: str) -> None:
    error = lock_held_error("production", "backup/shop", OTHER, NOON + timedelta(seconds=seconds), BERLIN)
    assert str(error) == (
        f"production: lock backup/shop is held by runner-2 {holder}. "
        "Wait for it, or see: crew runs production backup shop"
    )


def test_a_holder_is_read_as_it_was_written() -> None:
    holder = replace(MINE, renewed=NOON, released=NOON, took_over="x", renewals=3, attempts=2)
    assert holder_from("key", holder_to(holder)) == holder


def test_a_lock_is_held_until_its_release(lock: Lock) -> None:
    lease = acquired(lock, OTHER)
    with pytest.raises(LockHeld):
        acquired(lock, MINE)
    lease.release()
    assert lock.read()[0].released == NOON
    assert acquired(lock, MINE).holder.took_over is None
    assert lock.read()[0].run == MINE.run


def test_one_of_many_runs_acquires_the_lock(lock: Lock) -> None:
    won: list[str] = []
    acquired(lock, OTHER).release()

    def one(number: int) -> None:
        with suppress(LockHeld):
            won.append(acquired(lock, replace(MINE, run=f"run-{number}")).holder.run)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [lock.read()[0].run] == won


def test_the_lock_of_a_dead_holder_is_taken_over_after_its_lease(lock: Lock) -> None:
    before = time.monotonic()
    acquired(lock, replace(OTHER, seconds=0.2, since=datetime.now(UTC)))
    lease = acquired(replace(lock, now=lambda: datetime.now(UTC)), MINE, patient=True)
    assert time.monotonic() - before >= 0.2
    assert lease.holder.took_over == f"{OTHER.run} on runner-2 (pid 22)"
    assert lease.holder.attempts == 2, "it is the second attempt of this tick"


def test_a_holder_that_was_killed_on_this_host_is_replaced_even_by_an_impatient_run(lock: Lock) -> None:
    on_this_host = replace(OTHER, host=socket.gethostname(), seconds=0.2, since=datetime.now(UTC))
    lock = replace(lock, now=lambda: datetime.now(UTC))
    ended = subprocess.Popen(["true"])
    ended.wait()
    lease = acquired(lock, replace(on_this_host, pid=os.getpid(), seconds=60))
    with pytest.raises(LockHeld):
        acquired(lock, MINE)
    lease.release()
    acquired(lock, replace(on_this_host, run="killed", pid=ended.pid))
    assert acquired(lock, MINE).holder.took_over == f"killed on {on_this_host.host} (pid {ended.pid})"


def test_a_holder_whose_clock_is_behind_is_alive_if_it_renews(lock: Lock) -> None:
    behind = replace(lock, now=lambda: NOON - timedelta(hours=1))
    alive = acquired(behind, replace(OTHER, seconds=deadline(0.2), since=NOON - timedelta(hours=1)))
    alive.keep(pytest.fail)
    with pytest.raises(LockHeld, match="runner-2"):
        acquired(lock, MINE)
    alive.release()


def test_a_holder_whose_clock_is_far_ahead_is_dead_if_it_does_not_renew(lock: Lock) -> None:
    acquired(lock, replace(OTHER, seconds=0.2, since=NOON + timedelta(hours=1)))
    assert acquired(lock, MINE, patient=True).holder.took_over


def test_nobody_waits_longer_than_its_own_lease_and_an_interval(lock: Lock) -> None:
    acquired(lock, replace(OTHER, seconds=3600))
    assert acquired(lock, replace(MINE, seconds=0.2), patient=True).holder.took_over


def test_a_lease_of_a_year_is_an_error_that_names_the_lock(lock: Lock) -> None:
    lock.store.create(lock.key, holder_to(replace(OTHER, seconds=366 * 86400)))
    with pytest.raises(Failed, match=r"^production/locks/backup/shop\.json: .*seconds or pid is out of range"):
        acquired(lock, MINE)


def test_a_renewal_in_the_future_does_not_stop_an_impatient_run(lock: Lock) -> None:
    acquired(lock, replace(OTHER, seconds=0.2, renewed=NOON + timedelta(days=365)))
    assert acquired(lock, MINE).holder.took_over


def test_a_patient_run_acquires_the_lock_when_it_is_released(lock: Lock) -> None:
    lease = acquired(lock, OTHER)
    threading.Timer(0.05, lease.release).start()
    assert acquired(lock, replace(MINE, seconds=1), patient=True).holder.took_over is None


class LosesAnswers:
    """A store that raises an error for one method, whether it wrote or not."""

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


def test_a_lock_that_we_created_is_ours_though_the_answer_was_lost(tmp_path: Path) -> None:
    store = LosesAnswers(store_in(tmp_path), "create", OutOfReach("lost"), wrote=True)
    with pytest.raises(OutOfReach):
        acquired(lock_on(store), MINE)
    assert acquired(lock_on(store_in(tmp_path)), MINE).holder == MINE


def test_a_renewal_whose_answer_was_lost_keeps_the_lock(tmp_path: Path) -> None:
    store = LosesAnswers(store_in(tmp_path), "replace", OutOfReach("lost"), wrote=True)
    lease = acquired(lock_on(store), MINE)
    with pytest.raises(OutOfReach):
        lease.renew()
    store.on = False
    lease.renew()
    lease.release()
    assert lock_on(store_in(tmp_path)).read()[0].released


def test_a_lease_that_cannot_be_renewed_before_it_expires_is_lost(tmp_path: Path) -> None:
    store = LosesAnswers(store_in(tmp_path), "replace", OutOfReach("no route"), wrote=False)
    lease = acquired(lock_on(store), replace(MINE, seconds=0.2))
    lost: list[str] = []
    lease.keep(lost.append)
    until(lambda: lost)
    assert lost == ["its lock was lost: no route"]
    assert lease.seconds_left() <= 0


def test_a_lock_that_was_deleted_is_lost(lock: Lock) -> None:
    lease = acquired(lock, replace(MINE, seconds=0.1))
    lost: list[str] = []
    lease.keep(lost.append)
    lock.store.delete([lock.key])
    until(lambda: lost)
    lease.release()
    with pytest.raises(Missing):
        lock.read()


def test_a_store_without_conditional_writes_holds_no_lock(tmp_path: Path) -> None:
    store = LosesAnswers(store_in(tmp_path), "require_conditional_writes", NotConditional("rclone"), wrote=False)
    with pytest.raises(NotConditional):
        acquired(lock_on(store), MINE)
    assert list(store_in(tmp_path).list()) == []


def test_a_lock_of_a_newer_groundcrew_is_not_touched(lock: Lock) -> None:
    lock.store.create(lock.key, b'{"format": 2}')
    with pytest.raises(Failed, match="has format 2; this version of groundcrew reads format 1"):
        acquired(lock, MINE)


def test_the_holder_of_a_lock_can_be_read_without_taking_it(lock: Lock) -> None:
    assert read_holder(lock.store, "production", "backup", "shop") is None
    acquired(lock, OTHER)
    assert read_holder(lock.store, "production", "backup", "shop") == OTHER


class TestGrace:
    """A lease that has expired can be renewed for a while, if the store was out of reach for all."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> LosesAnswers:
        return LosesAnswers(store_in(tmp_path), "replace", OutOfReach("no route"), wrote=False)

    @pytest.fixture
    def lease(self, store: LosesAnswers) -> Any:
        return acquired(lock_on(cast("Store", store)), replace(MINE, seconds=0.2))

    def test_it_is_renewed_once_the_store_answers_again(self, store: LosesAnswers, lease: Any) -> None:
        lost: list[str] = []
        lease.keep(lost.append, timedelta(minutes=1))
        until(lambda: lease.seconds_left() < 0)
        store.on = False
        until(lambda: lease.seconds_left() > 0)
        assert not lost
        lease.release()

    def test_it_is_lost_if_another_run_has_taken_it_over(self, store: LosesAnswers, lease: Any) -> None:
        until(lambda: lease.seconds_left() < 0)
        store.on = False
        other = lock_on(cast("Store", store), lambda: NOON + timedelta(seconds=1))
        assert acquired(other, OTHER, patient=True).holder.took_over
        with pytest.raises(Changed, match=f"backup/shop was taken by run {OTHER.run} on runner-2"):
            lease.confirm()

    def test_it_is_lost_at_the_end_of_the_grace(self, lease: Any) -> None:
        lost: list[str] = []
        lease.keep(lost.append, timedelta(seconds=0.1))
        until(lambda: lost)
        assert lease.seconds_until_lost() <= 0
