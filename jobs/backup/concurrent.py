"""Run tasks concurrently: the first failure cancels the others and is the one raised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from jobs.log import with_log_context
from jobs.run.job import Run
from jobs.run.stop import StopCallbacks, Stopped

T = TypeVar("T")

_REPORT_SECONDS = 0.5


class Cancellation:
    """Cancels all tasks of a group once one of them has failed or the run is stopped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks = StopCallbacks(self._lock, self.check)
        self._first_error: BaseException | None = None

    @property
    def first_error(self) -> BaseException | None:
        """The failure that came first."""
        return self._first_error

    def check(self) -> None:
        """Raise Stopped if the group is cancelled. Call it in loops."""
        if self._first_error is not None:
            raise Stopped("another part has failed")

    def cancel(self, error: BaseException) -> None:
        """Cancel the group. Only the first call counts: later failures are its consequences."""
        with self._lock:
            if self._first_error is not None:
                return
            self._first_error = error
            callbacks = self._callbacks.take()
        for callback in callbacks:
            with suppress(Exception):
                callback()

    def on_cancel(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` if the group is cancelled inside this context."""
        return self._callbacks.registered(callback)

    @contextmanager
    def subgroup(self) -> Iterator[Cancellation]:
        """Yield the cancellation of a group of tasks in this group: it can fail without this one."""
        group = Cancellation()
        with self.on_cancel(lambda: group.cancel(Stopped("another part has failed"))):
            yield group


class ByteCounter:
    """Counts the bytes of several concurrent streams."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.bytes += number


def run_concurrently(
    run: Run,
    cancellation: Cancellation,
    tasks: Mapping[str, Callable[[], T]],
    report: Callable[[], None] = lambda: None,
    max_parallel: int | None = None,
    *,
    after: Callable[[str], Mapping[str, Callable[[], T]]] = lambda _: {},
) -> dict[str, T]:
    """Run all tasks, at most `max_parallel` at once, and return their results by name.

    `report` is called about every half second. `after` is called with the name of each task that succeeded. It returns
    further tasks, which start when those before them have started.
    """

    def guarded(task: Callable[[], T]) -> T:
        try:
            cancellation.check()
            return task()
        except BaseException as error:
            cancellation.cancel(error)
            raise

    with (
        ThreadPoolExecutor(max_parallel or max(1, len(tasks))) as pool,
        run.on_stop(lambda: cancellation.cancel(Stopped("the run was stopped"))),
    ):
        futures = {pool.submit(with_log_context(guarded), task): name for name, task in tasks.items()}
        pending = set(futures)
        while pending:
            done, pending = wait(pending, timeout=_REPORT_SECONDS, return_when=FIRST_COMPLETED)
            report()
            for name in [futures[future] for future in done if future.exception() is None]:
                further = {pool.submit(with_log_context(guarded), task): each for each, task in after(name).items()}
                futures |= further
                pending |= further.keys()
    run.check()
    if cancellation.first_error is not None:
        raise cancellation.first_error
    return {name: future.result() for future, name in futures.items()}
