"""Stops a run: its callbacks are called, and every program that it started is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from inventories import CrewError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
STOPPED_BY = "stopped by "


class Stopped(CrewError):
    """The run was stopped by a signal, its time limit or a lost lock; the message says which."""


class StopCallbacks:
    """Callbacks to call once, when their owner stops.

    The owner sets its state and calls take() under `lock`; `check` raises Stopped once that state is set.
    """

    def __init__(self, lock: threading.Lock, check: Callable[[], None]) -> None:
        self._lock, self._check = lock, check
        self._callbacks: list[Callable[[], object]] = []

    @contextmanager
    def registered(self, callback: Callable[[], object]) -> Iterator[None]:
        """Register a callback for the length of this context; Stopped if the owner has stopped already."""
        with self._lock:
            self._check()
            self._callbacks.append(callback)
        try:
            yield
        finally:
            with self._lock, suppress(ValueError):
                self._callbacks.remove(callback)

    def take(self) -> list[Callable[[], object]]:
        """Return all callbacks and forget them. The caller holds the lock."""
        taken, self._callbacks = self._callbacks, []
        return taken


class Stop:
    """Stops one run, once. Its programs get SIGTERM, and SIGKILL after `grace` seconds."""

    def __init__(self, grace: float = 8.0) -> None:
        self.reason = ""
        self._grace = grace
        self._requested = threading.Event()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._callbacks = StopCallbacks(self._lock, self.check)
        self._ending: list[threading.Thread] = []

    @property
    def requested(self) -> bool:
        return self._requested.is_set()

    def request(self, reason: str) -> None:
        """Stop the run; only the first call and its reason count."""
        with self._lock:
            if self.requested:
                return
            self.reason = reason
            self._requested.set()
            callbacks = self._callbacks.take()
        self.end_processes()
        for callback in callbacks:
            threading.Thread(target=_call_quietly, args=(callback,), daemon=True).start()

    def check(self) -> None:
        if self.requested:
            raise Stopped(self.reason)

    def wait(self, seconds: float) -> None:
        """Sleep; raise Stopped if the run is stopped meanwhile."""
        self._requested.wait(seconds)
        self.check()

    def on_stop(self, callback: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `callback` from another thread if the run is stopped inside this context."""
        return self._callbacks.registered(callback)

    def process(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start a program in its own process group, which is ended with the run."""
        with self._lock:
            self.check()
            self._processes = [process for process in self._processes if process.returncode is None]
            started = subprocess.Popen(argv, start_new_session=True, **{"stdin": subprocess.DEVNULL, **popen})
            self._processes.append(started)
            return started

    def end_processes(self) -> None:
        """Send SIGTERM to the process group of every running program, and SIGKILL to what is left after the grace."""
        with self._lock:
            running = [process for process in self._processes if process.poll() is None]
            self._processes = []
        if running:
            ending = threading.Thread(target=_end_groups, args=(running, self._grace), daemon=True)
            ending.start()
            self._ending.append(ending)

    def finish(self) -> None:
        """End what still runs, and wait until no process is left."""
        self.end_processes()
        for ending in self._ending:
            ending.join()


@contextmanager
def stopped_by_signals(on_repeat: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Stop on the first signal inside this context, and call `on_repeat` on each further one; leave no process."""
    stop = Stop()
    with on_signals(lambda name: stop.request(STOPPED_BY + name), on_repeat):
        try:
            yield stop
        except Exception as error:
            if stop.requested and not isinstance(error, Stopped):  # it failed because it was stopped
                raise Stopped(stop.reason) from error
            raise
        finally:
            stop.finish()


def _end_groups(processes: Sequence[subprocess.Popen[bytes]], grace: float) -> None:
    _signal_groups(processes, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(_group_lives(process) for process in processes):
        time.sleep(0.02)
    _signal_groups(processes, signal.SIGKILL)


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a leader that has ended keeps its group alive until we wait for it
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _signal_groups(processes: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


def _call_quietly(callback: Callable[[], object]) -> None:
    """Call a callback and ignore its errors: the run is stopping anyway, and its record has the reason."""
    with suppress(Exception):
        callback()


@contextmanager
def on_signals(on_first: Callable[[str], object], on_repeat: Callable[[], object]) -> Iterator[None]:
    """Inside this context, call `on_first` with the name of the first signal, and `on_repeat` on each further one.

    Both are called from a thread of their own, because the main thread can hold any lock when a signal arrives.
    That thread reads the signals from a pipe. Python calls signal handlers in the main thread only. If the system
    delivers a signal to another thread, the handler waits until the main thread wakes up, possibly for hours.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    threading.Thread(target=_listen, args=(reader, on_first, on_repeat), name="signals", daemon=True).start()
    for number in SIGNALS:
        if handlers[number] is not signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
    earlier_writer = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(earlier_writer)
        for number in SIGNALS:
            signal.signal(number, handlers[number] or signal.SIG_DFL)
        os.close(writer)


def _listen(reader: int, on_first: Callable[[str], object], on_repeat: Callable[[], object]) -> None:
    """Read one byte per signal until the writer is closed."""
    first = True
    with os.fdopen(reader, "rb", buffering=0) as received:
        while number := received.read(1):
            if number[0] not in SIGNALS:
                continue
            if first:
                on_first(signal.Signals(number[0]).name)
            else:
                on_repeat()
            first = False
