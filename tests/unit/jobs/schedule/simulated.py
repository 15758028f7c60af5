"""A simulation in which a week of the daemon takes seconds: the test controls clock, store and runs."""

from __future__ import annotations

import datetime as real
import os
from collections.abc import Callable, Collection, Iterator, Sequence
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
    """The machine crashed."""


class UnreachableStore(DirectoryStore):
    """A store in a directory that is unreachable for a while."""

    def __init__(self, store: DirectoryStore, is_unreachable: Callable[[], bool]) -> None:
        super().__init__(store.url, store.root)
        self.is_unreachable = is_unreachable

    def require_conditional_writes(self) -> None:
        self._require_reachable()

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        self._require_reachable()
        return super().list(prefix, start_after, limit)

    def _require_reachable(self) -> None:
        if self.is_unreachable():
            raise OutOfReach(f"{self.url}: no answer")


@dataclass
class Child:
    """A process that takes some time and writes its record at the end."""

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
    """Simulated time, with clock changes, an unreachable store and a crash at given times."""

    environment: Environment
    disk: DirectoryStore
    now: datetime
    interval: int = 60
    takes: dict[datetime, timedelta] = field(default_factory=dict)
    unreachable: Sequence[tuple[datetime, datetime]] = ()
    jumps: dict[datetime, timedelta] = field(default_factory=dict)
    crash: datetime | None = None
    databases: Sequence[str] = ()  # of the servers
    kills: Collection[datetime] = ()  # a process that starts then is killed after its first subject
    end: datetime = FOREVER
    started: list[tuple[datetime, tuple[str, ...]]] = field(default_factory=list)
    daemon: Daemon | None = None
    _pids: Iterator[int] = field(default_factory=lambda: count(1))

    def run(self) -> None:
        """Run the daemon from now until the end or the crash."""
        dependencies = Dependencies(
            read=lambda _: self.environment, open=lambda _: self.store(), start=self.start, now=lambda: self.now,
            elapsed=lambda: self.now.timestamp(),  # noqa: PLW0108
            wait=self.wait, submit=answered, interval=self.interval,
        )  # fmt: skip
        self.daemon = Daemon([self.environment.name], dependencies)
        self.daemon.run()

    def store(self) -> DirectoryStore:
        return UnreachableStore(self.disk, lambda: any(begin <= self.now < end for begin, end in self.unreachable))

    def wait(self, seconds: float) -> None:
        """Advance the clock, including jumps and the crash on the way."""
        before, self.now = self.now, self.now + timedelta(seconds=seconds)
        for at, jump in list(self.jumps.items()):
            if before < at <= self.now:
                del self.jumps[at]
                self.now += jump
        if self.crash and before < self.crash <= self.now:
            raise Crashed
        if self.now >= self.end and self.daemon:
            self.daemon.stop()

    def start(self, arguments: Sequence[str]) -> Child:
        """Start a child that does what `crew run JOB ENV --only NAME … --scheduled` does, when its time is over."""
        _, job, _, *more = arguments
        only = tuple(name for flag, name in pairwise(more) if flag == "--only")
        begun = self.now
        is_killed = begun.replace(second=0) in self.kills
        self.started.append((begun, tuple(arguments)))

        def work() -> int:
            simulated = Job(job, lambda *_: self.subjects_of(only)[: 1 if is_killed else None], done, line_of(job))
            records = run_job(
                simulated,
                self.environment,
                self.store(),
                Options(only, scheduled=True),
                now=lambda: begun,
                timeouts=QUICK,
            )
            if is_killed:
                return -9
            return 1 if any(record.outcome is Outcome.FAILED for record in records) else 0

        return Child(next(self._pids), begun + self.takes.get(begun.replace(second=0), QUICKLY), work, lambda: self.now)

    def subjects_of(self, only: Sequence[str]) -> list[str]:
        servers = self.environment.servers
        return [name for each in only for name in (self.databases if each in servers else [each])]


def done(_run: Run) -> Result:
    return Result(Outcome.DONE, "done")


def line_of(job: str) -> Callable[[Environment, str], str | None]:
    def line(environment: Environment, subject: str) -> str | None:
        name = subject.partition(".")[0]
        found: str | None = getattr(environment.databases.get(name) or environment.servers[name], job)
        return found

    return line


def answered(call: Callable[[], Any]) -> Future[Any]:
    """Query at once, in this thread."""
    answer: Future[Any] = Future()
    try:
        answer.set_result(call())
    except Exception as error:
        answer.set_exception(error)
    return answer


def use_simulated_clock(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the schedule library use the simulated clock, and skip fsync to save time."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: real.tzinfo | None = None) -> datetime:
            return simulation.now.astimezone(tz) if tz else simulation.now.replace(tzinfo=None)

    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(schedule, "datetime", SimpleNamespace(datetime=Clock, timedelta=timedelta))
