"""The daemon: in every cycle it starts what is due, each as a process `crew run … --scheduled`."""

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
from inventories import BadEnvironment, Environment, ExitCode, redact
from jobs.run.documents import utc_now
from jobs.run.holders import read_holders
from jobs.schedule.environment_schedule import EnvironmentSchedule, Launch
from jobs.schedule.history import last_complete_runs, last_runs
from jobs.schedule.notify import notify
from jobs.schedule.slots import Slot, slots
from jobs.store import Store

LastRuns = Mapping[Slot, datetime]

CYCLE_SECONDS = 2
QUERY_INTERVAL = timedelta(minutes=1)
CLOCK_STEP = timedelta(minutes=1)
TERM_GRACE = 60.0


class Child(Protocol):
    """A process that was started."""

    pid: int

    def poll(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The functions that the daemon acts through; tests replace them to simulate a week in seconds."""

    read: Callable[[str], Environment]
    open: Callable[[Environment], Store]
    start: Callable[[Sequence[str]], Child]
    now: Callable[[], datetime] = utc_now
    elapsed: Callable[[], float] = time.monotonic
    wait: Callable[[float], object] = time.sleep
    submit: Callable[[Callable[[], LastRuns]], Future[LastRuns]] = field(default_factory=lambda: in_background)
    interval: int = CYCLE_SECONDS


@dataclass
class Daemon:
    """Runs the schedules of some environments until it is stopped."""

    names: Sequence[str]
    dependencies: Dependencies
    grace: float = 600
    schedules: dict[str, EnvironmentSchedule] = field(default_factory=dict)
    children: dict[int, tuple[Launch, Child]] = field(default_factory=dict)
    _stores: dict[str, Store] = field(default_factory=dict)
    _queries: list[tuple[Future[LastRuns], Callable[[LastRuns | None], None]]] = field(default_factory=list)
    _stop_requests: int = 0
    _reload_requested: bool = False
    _last_cycle: datetime | None = None
    _wake: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.log = jobs.log.get()

    def run(self) -> None:
        """Run cycles until stop() is called, then wait for the running processes."""
        for name in self.names:
            self._load(name, self.dependencies.read(name))
        notify("READY=1", self._status())
        self.log.info("daemon started", environments=list(self.names), jobs=self._count_slots())
        cycles = self._cycles()
        while not self._stop_requests:
            cycles.run_pending()
            idle = cycles.idle_seconds or 0
            if self._reload_requested or idle > self.dependencies.interval:  # longer: the clock was set back
                cycles = self._cycles()
            self.dependencies.wait(min(self.dependencies.interval, max(0.0, cycles.idle_seconds or 0)))
        self._drain()

    def stop(self) -> None:
        """Start nothing more; on a second call, stop the running processes now."""
        self._stop_requests += 1
        self._wake.set()

    def reload(self) -> None:
        """Read the environment files again in the next cycle."""
        self._reload_requested = True
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Wait until the time is over or a signal arrives."""
        self._wake.wait(seconds)
        self._wake.clear()

    def _cycles(self) -> schedule.Scheduler:
        cycles = schedule.Scheduler()
        cycles.every(self.dependencies.interval).seconds.do(self._safe_cycle)
        cycles.run_all()
        return cycles

    def _safe_cycle(self) -> None:
        """Run a cycle; an error must not end the daemon."""
        try:
            self.cycle()
        except Exception as error:
            self.log.exception("scheduler loop failed", why=redact(str(error)))

    def cycle(self) -> None:
        """Check the clock and the processes that ended, then start what is due."""
        now = self.dependencies.now()
        if self._reload_requested:
            self._reload_files(now)
        if self._last_cycle and now < self._last_cycle - CLOCK_STEP:
            self.log.warning("clock went back; reading the run records again", by=str(self._last_cycle - now))
            for environment_schedule in self.schedules.values():
                environment_schedule.reset(now)
        self._last_cycle = now
        for pid, (launch, child) in list(self.children.items()):
            if (code := child.poll()) is not None:
                self._handle_end(pid, launch, code, now)
        for environment_schedule in self.schedules.values():
            self._query_if_needed(environment_schedule, now)
        self._handle_answers()
        for environment_schedule in self.schedules.values():
            for launch in [] if self._stop_requests else environment_schedule.launches(now):
                self._start(environment_schedule, launch)
        notify("WATCHDOG=1")

    def _load(self, name: str, environment: Environment) -> None:
        current, now = self.schedules.get(name), self.dependencies.now()
        if current:
            self.schedules[name] = current.reloaded(environment, slots(environment), now)
        else:
            self.schedules[name] = EnvironmentSchedule(environment, slots(environment), now)
        self._stores.pop(name, None)

    def _reload_files(self, now: datetime) -> None:
        """Load the files again; for an invalid file, report it and keep the previous configuration."""
        self._reload_requested = False
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        for name in self.names:
            try:
                self._load(name, self.dependencies.read(name))
            except BadEnvironment as error:
                faults = list(error.lines)
                self.log.error("invalid file; previous configuration stays active", environment=name, faults=faults)  # noqa: TRY400
        self.log.info("files reloaded", jobs=self._count_slots(), at=str(now))
        notify("READY=1", self._status())

    def _query_if_needed(self, environment_schedule: EnvironmentSchedule, now: datetime) -> None:
        """Query the last runs once; while the store is unreachable, query again every minute."""
        needs_query = environment_schedule.slots and not environment_schedule.has_last_runs
        if needs_query and now >= environment_schedule.next_query:
            environment_schedule.next_query = now + QUERY_INTERVAL
            handle = partial(_set_last_runs, environment_schedule)
            self._query(environment_schedule, environment_schedule.slots, now, handle, complete=True)

    def _query(
        self,
        environment_schedule: EnvironmentSchedule,
        slots: Sequence[Slot],
        now: datetime,
        handle: Callable[[LastRuns | None], None],
        *,
        complete: bool,
    ) -> None:
        """Query the store in the background: an unreachable store must not stop the cycles.

        If `complete`, a run counts only if no subject of its slot lacks it.
        """
        query = partial(self._last_runs, environment_schedule.environment, slots, now, complete=complete)
        self._queries.append((self.dependencies.submit(query), handle))

    def _last_runs(self, environment: Environment, slots: Sequence[Slot], now: datetime, *, complete: bool) -> LastRuns:
        if environment.name not in self._stores:
            self._stores[environment.name] = self.dependencies.open(environment)
        jobs = {slot.job for slot in slots}
        holders = read_holders(self._stores[environment.name], environment.name, jobs.pop() if len(jobs) == 1 else "")
        if complete:
            return last_complete_runs(holders, slots, environment.timezone, now)
        return last_runs(holders, slots, now)

    def _handle_answers(self) -> None:
        """Pass the answers of finished queries to their handlers."""
        answered = [query for query in self._queries if query[0].done()]
        self._queries = [query for query in self._queries if not query[0].done()]
        for answer, handle in answered:
            if error := answer.exception():
                self.log.warning("cannot read run records from the store", why=redact(str(error)))
            handle(None if error else answer.result())

    def _start(self, environment_schedule: EnvironmentSchedule, launch: Launch) -> None:
        for slot, gap in launch.gaps:
            self.log.warning(
                "scheduled times missed; one run replaces them", environment=launch.environment, job=slot.job,
                subject=slot.name, missed=gap.ticks, first=str(gap.first), last=str(gap.last),
            )  # fmt: skip
        child = self.dependencies.start(launch.arguments)
        self.children[child.pid] = (launch, child)
        environment_schedule.mark_started(launch)
        notify(self._status())
        command = f"crew {' '.join(launch.arguments)}"
        self.log.info("started", command=command, scheduled=str(launch.tick), pid=child.pid)

    def _handle_end(self, pid: int, launch: Launch, code: int, now: datetime) -> None:
        del self.children[pid]
        notify(self._status())
        self.log.info("ended", command=f"crew {' '.join(launch.arguments)}", code=code)
        environment_schedule = self.schedules[launch.environment]
        # A process that succeeded has run all subjects, and knows which ones exist.
        complete = code != ExitCode.DONE
        self._query(environment_schedule, launch.slots, now, partial(self._conclude, launch, now), complete=complete)

    def _conclude(self, launch: Launch, now: datetime, last: LastRuns | None) -> None:
        """Store what the records say about an ended process; a tick without a record is retried."""
        environment_schedule = self.schedules[launch.environment]
        for slot in environment_schedule.mark_ended(launch, last or {}, now):
            self.log.warning(
                "run left no record; retrying", environment=launch.environment, job=slot.job,
                subject=slot.name, scheduled=str(launch.tick), at=str(environment_schedule.retries[slot].at),
            )  # fmt: skip

    def _drain(self) -> None:
        """Wait for the running processes up to the grace time, then stop them with SIGTERM and SIGKILL."""
        notify("STOPPING=1")
        self.log.info("stopping", running=len(self.children), grace_seconds=self.grace)
        for limit, number in ((self.grace, signal.SIGTERM), (TERM_GRACE, signal.SIGKILL)):
            self._wait_for_children(limit if self._stop_requests < 2 or number == signal.SIGKILL else 0)
            for pid in self.children:
                self.log.warning("sending signal to run", pid=pid, signal=number.name)
                os.killpg(pid, number)
        self._wait_for_children(TERM_GRACE)

    def _wait_for_children(self, seconds: float) -> None:
        until, requests = self.dependencies.elapsed() + seconds, self._stop_requests
        while self.children and self.dependencies.elapsed() < until and self._stop_requests == requests:
            self.dependencies.wait(0.2)
            notify("WATCHDOG=1")
            for pid, (_, child) in list(self.children.items()):
                if (code := child.poll()) is not None:
                    self.log.info("ended", pid=pid, code=code)
                    del self.children[pid]

    def _count_slots(self) -> int:
        return sum(len(environment_schedule.slots) for environment_schedule in self.schedules.values())

    def _status(self) -> str:
        now = self.dependencies.now()
        soonest = min((tick for each in self.schedules.values() if (tick := each.next_tick(now))), default=None)
        return f"STATUS={len(self.children)} running; next at {soonest:%Y-%m-%d %H:%M %Z}" if soonest else "STATUS=idle"


def _set_last_runs(environment_schedule: EnvironmentSchedule, last: LastRuns | None) -> None:
    if last is not None:
        environment_schedule.set_last_runs(last)


def process_starter(root: Path | None) -> Callable[[Sequence[str]], Child]:
    """Return a function that starts `crew` as this process was started, in its own session.

    A session of its own keeps a signal to the daemon's process group away from the runs.
    """
    program = [sys.argv[0]] if Path(sys.argv[0]).name == "crew" else [sys.executable, "-m", "jobs.cli"]
    root_option = ["--root", str(root)] if root else []

    def start(arguments: Sequence[str]) -> Child:
        return subprocess.Popen([*program, *root_option, *arguments], stdin=subprocess.DEVNULL, start_new_session=True)

    return start


def in_background(call: Callable[[], LastRuns]) -> Future[LastRuns]:
    """Run a call in a daemon thread, so that it cannot keep the process alive."""
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
    """While inside, SIGTERM and Ctrl-C stop the daemon, and SIGHUP makes it read the files again."""
    actions = {signal.SIGTERM: daemon.stop, signal.SIGINT: daemon.stop, signal.SIGHUP: daemon.reload}
    before = {number: signal.signal(number, lambda *_, action=action: action()) for number, action in actions.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
