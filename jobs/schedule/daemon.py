"""The daemon: keeps the beat, asks what is due, and starts it as `crew run … --scheduled` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import schedule

import jobs.log
from inventories import BadEnvironment, Environment, redact
from jobs.run.documents import utc_now
from jobs.schedule.environment_schedule import EnvironmentSchedule, Launch
from jobs.schedule.history import last_runs
from jobs.schedule.notify import notify
from jobs.schedule.slots import Slot, scheduled
from jobs.store import Store

LastRuns = Mapping[Slot, datetime]

CYCLE_SECONDS = 2
QUERY_INTERVAL = timedelta(minutes=1)
CLOCK_STEP = timedelta(minutes=1)
TERM_GRACE = 60.0


class Child(Protocol):
    """A run that was started."""

    pid: int

    def poll(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the daemon acts with, so that a week of it can be simulated."""

    read: Callable[[str], Environment]
    open: Callable[[Environment], Store]
    start: Callable[[Sequence[str]], Child]
    now: Callable[[], datetime] = utc_now
    elapsed: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    ask: Callable[[Callable[[], LastRuns]], Future[LastRuns]] = field(default_factory=lambda: in_background)
    beat: int = CYCLE_SECONDS


@dataclass
class Daemon:
    """Runs what is due in some environments, until it is told to end."""

    names: Sequence[str]
    world: Dependencies
    grace: float = 600
    watches: dict[str, EnvironmentSchedule] = field(default_factory=dict)
    children: dict[int, tuple[Launch, Child]] = field(default_factory=dict)
    _stores: dict[str, Store] = field(default_factory=dict)
    _questions: list[tuple[Future[LastRuns], Callable[[LastRuns | None], None]]] = field(default_factory=list)
    _ending: int = 0
    _reread: bool = False
    _before: datetime | None = None
    _woken: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.log = jobs.log.get()

    def run(self) -> None:
        """Beat until told to end, then let what runs end."""
        for name in self.names:
            self._watch(name, self.world.read(name))
        notify("READY=1", self._status())
        self.log.info("the schedule runs", environments=list(self.names), slots=self._count())
        beats = self._beats()
        while not self._ending:
            beats.run_pending()
            idle = beats.idle_seconds or 0
            if self._reread or idle > self.world.beat:  # a beat further away means that the clock was set back
                beats = self._beats()
            self.world.wait(min(self.world.beat, max(0.0, beats.idle_seconds or 0)))
        self._drain()

    def end(self) -> None:
        """Start nothing more; asked again, end what runs now."""
        self._ending += 1
        self._woken.set()

    def reread(self) -> None:
        """Read the files again with the next beat."""
        self._reread = True
        self._woken.set()

    def pause(self, seconds: float) -> None:
        """Wait, but not through a signal."""
        self._woken.wait(seconds)
        self._woken.clear()

    def _beats(self) -> schedule.Scheduler:
        beats = schedule.Scheduler()
        beats.every(self.world.beat).seconds.do(self._safely)
        beats.run_all()
        return beats

    def _safely(self) -> None:
        """A beat that fails must not be the last one."""
        try:
            self.beat()
        except Exception as error:
            self.log.exception("a beat failed", why=redact(str(error)))

    def beat(self) -> None:
        """Look at the clock, at what ended, and start what is due."""
        now = self.world.now()
        if self._reread:
            self._read_again(now)
        if self._before and now < self._before - CLOCK_STEP:
            self.log.warning("the clock went back: the records are read again", by=str(self._before - now))
            for watch in self.watches.values():
                watch.forget(now)
        self._before = now
        for number, (start, child) in list(self.children.items()):
            if (code := child.poll()) is not None:
                self._ended(number, start, code, now)
        for watch in self.watches.values():
            self._inform(watch, now)
        self._hear()
        for watch in self.watches.values():
            for start in [] if self._ending else watch.starts(now):
                self._start(watch, start)
        notify("WATCHDOG=1")

    def _watch(self, name: str, environment: Environment) -> None:
        slots, now = scheduled(environment), self.world.now()
        known = self.watches.get(name)
        self.watches[name] = (
            known.replaced_by(environment, slots, now) if known else EnvironmentSchedule(environment, slots, now)
        )
        self._stores.pop(name, None)

    def _read_again(self, now: datetime) -> None:
        """Take the files as they are now; one that is broken is told, and its old self stays."""
        self._reread = False
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        for name in self.names:
            try:
                self._watch(name, self.world.read(name))
            except BadEnvironment as error:
                faults = list(error.lines)
                self.log.error("file not taken over, the old one stays", environment=name, faults=faults)  # noqa: TRY400
        self.log.info("files read again", slots=self._count(), at=str(now))
        notify("READY=1", self._status())

    def _inform(self, watch: EnvironmentSchedule, now: datetime) -> None:
        """Ask the store, once, what ran last; while it is out of reach, ask again and again."""
        if watch.slots and not watch.is_informed and now >= watch.ask_at:
            watch.ask_at = now + QUERY_INTERVAL
            self._ask(watch, watch.slots, now, partial(self._learn, watch))

    def _learn(self, watch: EnvironmentSchedule, last: LastRuns | None) -> None:
        if last is not None:
            watch.learn(last)

    def _ask(
        self, watch: EnvironmentSchedule, slots: Sequence[Slot], now: datetime, hear: Callable[[LastRuns | None], None]
    ) -> None:
        """Ask the store without waiting: one that is out of reach must not stop the beat."""
        self._questions.append((self.world.ask(partial(self._last, watch.environment, slots, now)), hear))

    def _last(self, environment: Environment, slots: Sequence[Slot], now: datetime) -> LastRuns:
        if environment.name not in self._stores:
            self._stores[environment.name] = self.world.open(environment)
        return last_runs(self._stores[environment.name], environment.name, slots, now)

    def _hear(self) -> None:
        """Pass on what the store has answered."""
        answered = [each for each in self._questions if each[0].done()]
        self._questions = [each for each in self._questions if not each[0].done()]
        for answer, hear in answered:
            if error := answer.exception():
                self.log.warning("the store does not say what ran", why=redact(str(error)))
            hear(None if error else answer.result())

    def _start(self, watch: EnvironmentSchedule, start: Launch) -> None:
        for slot, gap in start.gaps:
            self.log.warning(
                "ticks were missed; one run makes up for them", environment=start.environment, job=slot.job,
                subject=slot.name, ticks=gap.ticks, first=str(gap.first), last=str(gap.last),
            )  # fmt: skip
        child = self.world.start(start.arguments)
        self.children[child.pid] = (start, child)
        watch.started(start)
        notify(self._status())
        self.log.info("started", command=f"crew {' '.join(start.arguments)}", tick=str(start.tick), pid=child.pid)

    def _ended(self, number: int, start: Launch, code: int, now: datetime) -> None:
        del self.children[number]
        notify(self._status())
        self.log.info("ended", command=f"crew {' '.join(start.arguments)}", code=code)
        watch = self.watches[start.environment]
        self._ask(watch, start.slots, now, partial(self._conclude, start, now))

    def _conclude(self, start: Launch, now: datetime, last: LastRuns | None) -> None:
        """Note what the records say of a run that ended; one that left none is tried again."""
        watch = self.watches[start.environment]
        for slot in watch.ended(start, last or {}, now):
            self.log.warning(
                "left no record of its tick, and is tried again", environment=start.environment, job=slot.job,
                subject=slot.name, tick=str(start.tick), at=str(watch.again[slot].at),
            )  # fmt: skip

    def _drain(self) -> None:
        """Let what runs end by itself for a while, then end it."""
        notify("STOPPING=1")
        self.log.info("ending", running=len(self.children), grace_seconds=self.grace)
        for limit, number in ((self.grace, signal.SIGTERM), (TERM_GRACE, signal.SIGKILL)):
            self._wait_for_children(limit if self._ending < 2 or number == signal.SIGKILL else 0)
            for pid in self.children:
                self.log.warning("told to end", pid=pid, signal=number.name)
                os.killpg(pid, number)
        self._wait_for_children(TERM_GRACE)

    def _wait_for_children(self, seconds: float) -> None:
        until, asked = self.world.elapsed() + seconds, self._ending
        while self.children and self.world.elapsed() < until and self._ending == asked:
            self.world.wait(0.2)
            notify("WATCHDOG=1")
            for number, (_, child) in list(self.children.items()):
                if (code := child.poll()) is not None:
                    self.log.info("ended", pid=number, code=code)
                    del self.children[number]

    def _count(self) -> int:
        return sum(len(watch.slots) for watch in self.watches.values())

    def _status(self) -> str:
        soonest = min((at for watch in self.watches.values() if (at := watch.next(self.world.now()))), default=None)
        return f"STATUS={len(self.children)} running; next at {soonest:%Y-%m-%d %H:%M %Z}" if soonest else "STATUS=idle"


def process_starter(root: Path | None) -> Callable[[Sequence[str]], Child]:
    """Starts `crew` as it was started itself, in a session of its own, so that a signal to one is not one to all."""
    program = [sys.argv[0]] if Path(sys.argv[0]).name == "crew" else [sys.executable, "-m", "jobs.cli"]
    root_option = ["--root", str(root)] if root else []

    def start(arguments: Sequence[str]) -> Child:
        return subprocess.Popen([*program, *root_option, *arguments], stdin=subprocess.DEVNULL, start_new_session=True)

    return start


def in_background(call: Callable[[], LastRuns]) -> Future[LastRuns]:
    """Runs a call in a thread that does not keep the daemon from ending."""
    answer: Future[LastRuns] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer


@contextmanager
def handling_signals(daemon: Daemon) -> Iterator[None]:
    """SIGTERM and Ctrl-C end the daemon, SIGHUP has it read its files again."""
    answers = {signal.SIGTERM: daemon.end, signal.SIGINT: daemon.end, signal.SIGHUP: daemon.reread}
    before = {number: signal.signal(number, lambda *_, answer=answer: answer()) for number, answer in answers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
