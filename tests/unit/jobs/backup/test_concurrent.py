from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import cast

import pytest

from jobs.backup.concurrent import ByteCounter, Cancellation, run_concurrently
from jobs.run.job import Run
from jobs.run.stop import Stop, Stopped
from tests.parts.patience import deadline


class StoppableRun:
    """The two methods of a run that run_concurrently() needs."""

    def __init__(self) -> None:
        self.stop = Stop()

    def check(self) -> None:
        self.stop.check()

    def on_stop(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        return self.stop.on_stop(callback)


@pytest.fixture
def run() -> Run:
    return cast("Run", StoppableRun())


def test_results_are_returned_by_name(run: Run) -> None:
    results = run_concurrently(run, Cancellation(), {"a": lambda: 1, "b": lambda: 2})
    assert results == {"a": 1, "b": 2}


def test_no_tasks_have_no_results(run: Run) -> None:
    assert run_concurrently(run, Cancellation(), {}) == {}


def test_tasks_that_follow_others_run_too(run: Run) -> None:
    following = {"a": {"b": lambda: 2, "c": lambda: 3}, "c": {"d": lambda: 4}}
    results = run_concurrently(
        run, Cancellation(), {"a": lambda: 1}, max_parallel=1, after=lambda name: following.get(name, {})
    )
    assert results == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_a_failure_among_tasks_that_follow_is_raised(run: Run) -> None:
    def fails() -> int:
        raise ValueError("in b")

    with pytest.raises(ValueError, match="in b"):
        run_concurrently(run, Cancellation(), {"a": lambda: 1}, after=lambda name: {"b": fails} if name == "a" else {})


def test_no_more_tasks_run_at_once_than_allowed(run: Run) -> None:
    lock, running, peaks = threading.Lock(), [0], [0]

    def task() -> None:
        with lock:
            running[0] += 1
            peaks.append(running[0])
        threading.Event().wait(0.01)
        with lock:
            running[0] -= 1

    run_concurrently(run, Cancellation(), {str(number): task for number in range(8)}, max_parallel=2)
    assert max(peaks) <= 2, peaks


def test_the_first_failure_cancels_the_other_tasks_and_is_raised(run: Run) -> None:
    cancellation, cancelled, waiting = Cancellation(), threading.Event(), threading.Event()

    def fails() -> None:
        waiting.wait(deadline(10))
        raise OSError("first")

    def waits() -> None:
        with cancellation.on_cancel(cancelled.set):
            waiting.set()
            assert cancelled.wait(deadline(10))
        raise OSError("second")

    with pytest.raises(OSError, match="first"):
        run_concurrently(run, cancellation, {"fails": fails, "waits": waits})
    assert cancelled.is_set()


def test_a_task_that_has_not_started_is_skipped_after_a_failure(run: Run) -> None:
    started: list[str] = []

    def fails() -> None:
        raise OSError("first")

    with pytest.raises(OSError, match="first"):
        run_concurrently(run, Cancellation(), {"a": fails, "b": lambda: started.append("b")}, max_parallel=1)
    assert started == []


def test_stopping_the_run_cancels_all_tasks() -> None:
    stoppable, cancellation = StoppableRun(), Cancellation()

    def waits() -> None:
        cancelled = threading.Event()
        with cancellation.on_cancel(cancelled.set):
            stoppable.stop.request("stopped by SIGTERM")
            assert cancelled.wait(deadline(10))

    with pytest.raises(Stopped, match="stopped by SIGTERM"):
        run_concurrently(cast("Run", stoppable), cancellation, {"waits": waits})


def test_only_the_first_failure_counts() -> None:
    cancellation, first = Cancellation(), OSError("first")
    calls: list[int] = []
    with cancellation.on_cancel(lambda: calls.append(1)):
        cancellation.cancel(first)
        cancellation.cancel(OSError("second"))
    assert cancellation.first_error is first
    assert calls == [1]
    with pytest.raises(Stopped, match="another part has failed"):
        cancellation.check()


def test_a_callback_can_be_registered_only_before_the_cancellation() -> None:
    cancellation = Cancellation()
    calls: list[int] = []
    with cancellation.on_cancel(lambda: calls.append(1)):
        pass
    cancellation.cancel(OSError("late"))
    with pytest.raises(Stopped), cancellation.on_cancel(lambda: calls.append(2)):
        pass
    assert calls == []


def test_bytes_of_several_threads_are_all_counted() -> None:
    counter = ByteCounter()
    threads = [threading.Thread(target=lambda: [counter.add(1) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.bytes == 4000
