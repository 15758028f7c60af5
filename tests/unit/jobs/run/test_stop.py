"""Signals, and the stop of a run with its callbacks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.run.stop import Stop, StopCallbacks, Stopped, on_signals
from tests.parts.patience import deadline, until


def main_thread_sleeps() -> bool:
    """Return whether the main thread sleeps for some time."""
    stat = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    states = []
    for _ in range(50):
        states.append(stat.read_text().rpartition(")")[2].split()[0])
        time.sleep(0.002)
    return set(states) == {"S"}


def test_a_signal_to_another_thread_is_handled_while_the_main_thread_sleeps() -> None:
    names: list[str] = []
    first, second = threading.Event(), threading.Event()

    def on_first(name: str) -> None:
        names.append(name)
        first.set()

    def to_itself() -> None:
        until(main_thread_sleeps)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.pthread_kill(threading.get_ident(), number)
            first.wait(deadline(10))

    with on_signals(on_first, second.set):
        threading.Thread(target=to_itself).start()
        assert first.wait(deadline(5))
        assert second.wait(deadline(5))
    assert names == ["SIGTERM"]


@pytest.fixture
def sighup_not_ignored() -> Iterator[None]:
    """Reset SIGHUP, because nohup ignores it and runs respect that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("sighup_not_ignored")
def test_earlier_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    received = threading.Event()
    with on_signals(lambda _: received.set(), lambda: None):
        os.kill(os.getpid(), signal.SIGHUP)
        assert received.wait(deadline(5))
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_stop_calls_back_once_and_raises_its_first_reason() -> None:
    stop, called = Stop(), threading.Event()
    with stop.on_stop(called.set):
        stop.request("stopped by SIGTERM")
        stop.request("stopped by its time limit")
        assert called.wait(deadline(5))
    with pytest.raises(Stopped, match=r"^stopped by SIGTERM$"):
        stop.check()
    with pytest.raises(Stopped), stop.on_stop(pytest.fail):
        pass


def test_a_callback_is_registered_for_its_context_only() -> None:
    lock = threading.Lock()
    callbacks, calls = StopCallbacks(lock, lambda: None), list[str]()
    with callbacks.registered(lambda: calls.append("outer")):
        with callbacks.registered(lambda: calls.append("inner")):
            pass
        with lock:
            taken = callbacks.take()
    for callback in taken:
        callback()
    assert calls == ["outer"]
    assert callbacks.take() == []
