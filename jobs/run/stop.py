"""How a run is told to end, and how everything that it started is ended with it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from inventories import CrewError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(CrewError):
    """The run was told to end: SIGTERM, its time limit, or a lock that was lost. The message says which."""


class Stop:
    """Tells one run to end, once: processes get SIGTERM and, after a grace, SIGKILL."""

    def __init__(self, grace: float = 8.0) -> None:
        self.why = ""
        self._grace = grace
        self._told = threading.Event()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ends: list[Callable[[], object]] = []
        self._endings: list[threading.Thread] = []

    @property
    def told(self) -> bool:
        return self._told.is_set()

    def tell(self, why: str) -> None:
        """End the run; only the first reason counts."""
        with self._lock:
            if self.told:
                return
            self.why = why
            self._told.set()
            ends, self._ends = self._ends, []
        self.end_processes()
        for end in ends:
            threading.Thread(target=_quietly, args=(end,), daemon=True).start()

    def check(self) -> None:
        if self.told:
            raise Stopped(self.why)

    def wait(self, seconds: float) -> None:
        """Sleep, unless told to end."""
        self._told.wait(seconds)
        self.check()

    @contextmanager
    def on_stop(self, end: Callable[[], object]) -> Iterator[None]:
        with self._lock:
            self.check()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock, suppress(ValueError):
                self._ends.remove(end)

    def process(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            self.check()
            self._processes = [p for p in self._processes if p.returncode is None]
            started = subprocess.Popen(argv, start_new_session=True, **{"stdin": subprocess.DEVNULL, **popen})
            self._processes.append(started)
            return started

    def end_processes(self) -> None:
        """SIGTERM to the group of every process that still runs, SIGKILL to what is left of it after the grace."""
        with self._lock:
            running = [p for p in self._processes if p.poll() is None]
            self._processes = []
        if running:
            ending = threading.Thread(target=_end_groups, args=(running, self._grace), daemon=True)
            ending.start()
            self._endings.append(ending)

    def finish(self) -> None:
        """Leave no process behind: end what still runs, and wait until all of it is gone."""
        self.end_processes()
        for ending in self._endings:
            ending.join()


@contextmanager
def stopped_by_signals(again: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """While inside, the first signal ends what was started, and `again` hears of each later one; nothing is left."""
    stop = Stop()
    with on_signals(lambda name: stop.tell(f"stopped by {name}"), again):
        try:
            yield stop
        except Exception as error:
            if stop.told and not isinstance(error, Stopped):  # whatever broke, it broke because it was ended
                raise Stopped(stop.why) from error
            raise
        finally:
            stop.finish()


def _end_groups(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    _signal_groups(processes, signal.SIGTERM)
    until = time.monotonic() + grace
    while time.monotonic() < until and any(_group_lives(p) for p in processes):
        time.sleep(0.02)
    _signal_groups(processes, signal.SIGKILL)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a leader that has ended and was not waited for would keep its group alive
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_groups(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _quietly(end: Callable[[], object]) -> None:
    """What ends something may itself fail: it is ending anyway, and the run's own record says why."""
    with suppress(Exception):
        end()


@contextmanager
def on_signals(tell: Callable[[str], object], again: Callable[[], object]) -> Iterator[None]:
    """While inside, the first signal to end calls `tell` with its name, and each later one calls `again`.

    They are called from a thread of their own, since a signal may find the main thread holding any lock. And that
    thread hears of it by a pipe: Python's handlers run in the main thread alone, and when the system hands a signal to
    another one, they wait until the main thread wakes by itself, which may be hours later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    threading.Thread(target=_listen, args=(reader, tell, again), name="signals", daemon=True).start()
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
    woken_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(woken_before)
        for number in SIGNALS:
            signal.signal(number, before[number] or signal.SIG_DFL)
        os.close(writer)


def _listen(reader: int, tell: Callable[[str], object], again: Callable[[], object]) -> None:
    """A byte for each signal that came, whichever it was; the end once nobody writes any more."""
    first = True
    with os.fdopen(reader, "rb", buffering=0) as came:
        while number := came.read(1):
            if number[0] not in SIGNALS:
                continue
            if first:
                tell(signal.Signals(number[0]).name)
            else:
                again()
            first = False
