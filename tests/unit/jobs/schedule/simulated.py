"""A world in which a week of the daemon takes seconds: its clock, its store and its runs obey the test."""

from __future__ import annotations

import datetime as real
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import schedule

from inventories import Environment
from jobs.run import Job, Options, Outcome, Result, Run, run_job
from jobs.schedule.daemon import Daemon, Dependencies
from jobs.store import ListedKey, OutOfReach
from jobs.store.directory import DirectoryStore
from tests.parts.runs import QUICK

QUICKLY = timedelta(seconds=20)
FOREVER = datetime.max.replace(tzinfo=UTC)


class Crashed(Exception):
    """The machine went down."""


class Away(DirectoryStore):
    """A directory that is out of reach for a while."""

    def __init__(self, store: DirectoryStore, is_away: Callable[[], bool]) -> None:
        super().__init__(store.url, store.root)
        self.is_away = is_away

    def require_conditional_writes(self) -> None:
        self._must_be_there()

    def list(self, prefix: str = "") -> Iterator[ListedKey]:
        self._must_be_there()
        return super().list(prefix)

    def _must_be_there(self) -> None:
        if self.is_away():
            raise OutOfReach(f"{self.url}: no answer")


@dataclass
class Child:
    """A run that takes its time, and leaves its record at the end."""

    pid: int
    ends: datetime
    work: Callable[[], int]
    now: Callable[[], datetime]
    code: int | None = None

    def poll(self) -> int | None:
        if self.code is None and self.now() >= self.ends:
            self.code = self.work()
        return self.code


@dataclass
class Simulation:
    """Simulated time: `at` says what happens to the clock, and when the machine goes down."""

    environment: Environment
    disk: DirectoryStore
    now: datetime
    beat: int = 60
    takes: dict[datetime, timedelta] = field(default_factory=dict)
    away: Sequence[tuple[datetime, datetime]] = ()
    jumps: dict[datetime, timedelta] = field(default_factory=dict)
    crash: datetime | None = None
    end: datetime = FOREVER
    started: list[tuple[datetime, tuple[str, ...]]] = field(default_factory=list)
    daemon: Daemon | None = None
    _pids: Iterator[int] = field(default_factory=lambda: count(1))

    def run(self) -> None:
        """The daemon, from now until the end or the crash."""
        world = Dependencies(
            read=lambda _: self.environment, open=lambda _: self.store(), start=self.start, now=lambda: self.now,
            elapsed=lambda: self.now.timestamp(),  # noqa: PLW0108
            wait=self.wait, ask=answered, beat=self.beat,
        )  # fmt: skip
        self.daemon = Daemon([self.environment.name], world)
        self.daemon.run()

    def store(self) -> DirectoryStore:
        return Away(self.disk, lambda: any(begin <= self.now < end for begin, end in self.away))

    def wait(self, seconds: float) -> None:
        """Let time pass, with all that happens meanwhile."""
        before, self.now = self.now, self.now + timedelta(seconds=seconds)
        for at, jump in list(self.jumps.items()):
            if before < at <= self.now:
                del self.jumps[at]
                self.now += jump
        if self.crash and before < self.crash <= self.now:
            raise Crashed
        if self.now >= self.end and self.daemon:
            self.daemon.end()

    def start(self, arguments: Sequence[str]) -> Child:
        """What `crew run JOB ENV --only NAME … --scheduled` does, when its time is over."""
        _, job, _, *more = arguments
        only = tuple(name for flag, name in pairwise(more) if flag == "--only")
        begun = self.now
        self.started.append((begun, tuple(arguments)))

        def work() -> int:
            made = Job(job, lambda _e, options: options.only, done, line_of(job))
            ran = run_job(
                made, self.environment, self.store(), Options(only, scheduled=True), now=lambda: begun, timeouts=QUICK
            )
            return 1 if any(record.outcome is Outcome.FAILED for record in ran) else 0

        return Child(next(self._pids), begun + self.takes.get(begun.replace(second=0), QUICKLY), work, lambda: self.now)


def done(_run: Run) -> Result:
    return Result(Outcome.DONE, "done")


def line_of(job: str) -> Callable[[Environment, str], str | None]:
    return lambda environment, subject: getattr(environment.databases[subject], job)


def answered(call: Callable[[], Any]) -> Future[Any]:
    """Asks at once, in this thread."""
    answer: Future[Any] = Future()
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)
    return answer


def in_its_time(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the library that keeps the beat look at the simulated clock; no power fails that would want an fsync."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> datetime:
            return simulation.now.astimezone(tz) if tz else simulation.now.replace(tzinfo=None)

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(schedule, "datetime", SimpleNamespace(datetime=Clock, timedelta=timedelta))
