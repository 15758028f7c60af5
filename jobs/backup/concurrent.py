"""Pieces of work side by side: when one fails the others are ended, and the first failure is the one that counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TypeVar

from jobs.log import carried
from jobs.run.job import Run
from jobs.run.stop import Stopped

T = TypeVar("T")

_TELL_EVERY = 0.5


class Cancellation:
    """Ends what is under way once something has failed or the run is told to end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], object]] = []
        self._first: BaseException | None = None

    @property
    def first(self) -> BaseException | None:
        """The failure that came first."""
        return self._first

    def check(self) -> None:
        """For loops: raises once something has failed."""
        if self._first is not None:
            raise Stopped("another part has failed")

    def fail(self, error: BaseException) -> None:
        """Only the first failure is kept: the others follow from it."""
        with self._lock:
            if self._first is not None:
                return
            self._first = error
            ends, self._ends = self._ends, []
        for end in ends:
            with suppress(Exception):
                end()

    @contextmanager
    def ends(self, end: Callable[[], object]) -> Iterator[None]:
        """While inside, `end` is called when something else fails."""
        with self._lock:
            self.check()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock, suppress(ValueError):
                self._ends.remove(end)


class ByteCounter:
    """How many bytes have gone through all streams together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes = 0

    def add(self, number: int) -> None:
        with self._lock:
            self.bytes += number


def run_together(
    run: Run,
    ending: Cancellation,
    work: Mapping[str, Callable[[], T]],
    tell: Callable[[], None] = lambda: None,
    at_once: int | None = None,
) -> dict[str, T]:
    """Start all of it at once or so many, `tell` now and then how far it is, and return each answer by its name."""

    def guarded(one: Callable[[], T]) -> T:
        try:
            ending.check()
            return one()
        except BaseException as error:
            ending.fail(error)
            raise

    threads = min(at_once or len(work), len(work))
    with ThreadPoolExecutor(max(1, threads)) as pool, run.on_stop(lambda: ending.fail(Stopped("told"))):
        under_way = {pool.submit(carried(guarded), one): name for name, one in work.items()}
        left = set(under_way)
        while left:
            _, left = wait(left, timeout=_TELL_EVERY, return_when=FIRST_COMPLETED)
            tell()
    run.check()
    if ending.first is not None:
        raise ending.first
    return {name: future.result() for future, name in under_way.items()}
