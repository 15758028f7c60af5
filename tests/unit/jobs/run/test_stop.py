from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.run.stop import on_signals
from tests.parts.runs import until


def main_thread_sleeps() -> bool:
    """Not for a moment, but in a wait."""
    stat = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat")
    states = []
    for _ in range(50):
        states.append(stat.read_text().rpartition(")")[2].split()[0])
        time.sleep(0.002)
    return set(states) == {"S"}


def test_a_signal_that_another_thread_receives_is_heard_though_the_main_thread_sleeps() -> None:
    heard: list[str] = []
    first, second = threading.Event(), threading.Event()

    def tell(name: str) -> None:
        heard.append(name)
        first.set()

    def to_itself() -> None:
        until(main_thread_sleeps)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.pthread_kill(threading.get_ident(), number)
            first.wait(10)

    with on_signals(tell, second.set):
        threading.Thread(target=to_itself).start()
        assert first.wait(5)
        assert second.wait(5)
    assert heard == ["SIGTERM"]


@pytest.fixture
def heard() -> Iterator[None]:
    """Also where these tests were started by nohup, which a run respects."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heard")
def test_handlers_are_as_they_were_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    told = threading.Event()
    with on_signals(lambda _: told.set(), lambda: None):
        os.kill(os.getpid(), signal.SIGHUP)
        assert told.wait(5)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)] == before
    assert signal.set_wakeup_fd(-1) == -1
