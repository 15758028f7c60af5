"""An hour of the daemon in simulated time, with the schedule and the store of a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import schedule

import jobs.log
from inventories import Environment, Repository
from jobs.schedule.daemon import Daemon, Dependencies, LastRuns
from jobs.store import Store, open_store

START = datetime(2026, 11, 21, 11, 20, tzinfo=UTC)


def opened(environment: Environment) -> Store:
    assert environment.store
    store = open_store(environment.store)
    store.prepare()
    return store


class Hour:
    """A clock that jumps to the end of each wait."""

    def __init__(self) -> None:
        self.now = START
        self.started = 0

    def start(self, _arguments: object) -> subprocess.Popen[bytes]:
        self.started += 1
        return subprocess.Popen(["/bin/true"], start_new_session=True)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=max(seconds, 0.1))
        if self.now > START + timedelta(hours=1):
            daemon.stop()


def answered(call: Callable[[], LastRuns]) -> Future[LastRuns]:
    """Reads the store directly, since simulated time does not wait for an answer."""
    answer: Future[LastRuns] = Future()
    answer.set_result(call())
    return answer


hour = Hour()


class Clock(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return hour.now.replace(tzinfo=None)


schedule.datetime = SimpleNamespace(datetime=Clock, timedelta=timedelta)
jobs.log.configure()
repository = Repository.find(Path(sys.argv[1]))
world = Dependencies(repository.read, opened, hour.start, now=lambda: hour.now, wait=hour.wait, submit=answered)
daemon = Daemon(["dev"], world, grace=0)
daemon.run()
sys.exit(hour.started < 2)
