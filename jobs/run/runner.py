"""Runs a job: lock, heartbeat, work under a time limit, record, metrics, alert, release. Always this one path."""

from __future__ import annotations

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import jobs.log
from inventories import CrewError, Environment, ExitCode, redact
from jobs.run import metrics
from jobs.run.alert_queue import AlertQueue
from jobs.run.context import RunContext, new_run
from jobs.run.documents import utc_now
from jobs.run.heartbeat import Heartbeat
from jobs.run.job import Job, Options, Outcome, Result
from jobs.run.lease import Holder, Lease, Lock, LockHeld, acquire
from jobs.run.progress import end_bars
from jobs.run.record import Record, last_tick, read_record, record_prefix, record_to, tick_key
from jobs.run.stop import Stop, Stopped, on_signals
from jobs.run.ticks import Gap, latest_tick, missed_ticks
from jobs.store import Store

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RunTimeouts:
    """How long is waited for what, in seconds."""

    work: tuple[float, ...] = (5, 20, 60)  # before each further try of what may pass
    store: tuple[float, ...] = (1, 2, 5, 10, 20)  # before each further try to take a lock or to write a record
    silence: float = 60  # of the store, after which there is no further try: each one may take minutes
    term: float = 8  # from SIGTERM to SIGKILL
    giving_up: float = 12  # from being told to end to being left behind


def run_job(
    job: Job,
    environment: Environment,
    store: Store,
    options: Options,
    *,
    now: Callable[[], datetime] = utc_now,
    patience: RunTimeouts = RunTimeouts(),
) -> list[Record]:
    """Run a job on its subjects, side by side, and say how each went."""
    shift = JobRunner(job, environment, store, options, now, patience)
    subjects = job.subjects(environment, options)
    with on_signals(shift.stop_all, shift.warn_again), ThreadPoolExecutor(max_workers=job.side_by_side) as pool:
        ended = list(pool.map(shift.run, subjects))
        shift.close(ended)
    return ended


def exit_code(records: Iterable[Record], *, scheduled: bool) -> int:
    """What a program ends with: a scheduler sees red only for a failure."""
    outcomes = {record.outcome for record in records}
    if Outcome.FAILED in outcomes:
        return ExitCode.FAILED
    if scheduled:
        return ExitCode.DONE
    if Outcome.FINDING in outcomes:
        return ExitCode.FINDING
    return ExitCode.LOCK_HELD if Outcome.HELD in outcomes else ExitCode.DONE


def retry(
    call: Callable[[], T],
    delays: Sequence[float],
    sleep: Callable[[float], object],
    log: FilteringBoundLogger,
    enough: float = math.inf,
) -> T:
    """Try again what may pass, after delays that no two runs share, until enough seconds are gone."""
    begun = time.monotonic()
    for delay in delays:
        try:
            return call()
        except CrewError as error:
            if not error.retryable or time.monotonic() - begun > enough:
                raise
            pause = delay * random.uniform(0.5, 1.5)  # noqa: S311
            log.warning("will be tried again", why=redact(str(error)), in_seconds=round(pause, 1))
            sleep(pause)
    return call()


def failed_result(run: RunContext, error: BaseException) -> Result:
    """What an exception means: an end that was asked for, a failure that names itself, or a bug."""
    if run.stop.told:
        return Result(Outcome.FAILED, run.stop.why)
    if isinstance(error, CrewError):
        return Result(Outcome.FAILED, str(error))
    run.log.error("this is a bug", exc_info=error)
    return Result(Outcome.FAILED, f"a bug: {type(error).__name__}: {error}; its traceback is in the log")


@dataclass
class JobRunner:
    """One call of run_job: what its runs share."""

    job: Job
    environment: Environment
    store: Store
    options: Options
    now: Callable[[], datetime]
    patience: RunTimeouts
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _why: str = ""
    _runs: list[RunContext] = field(default_factory=list)
    _left_behind: list[tuple[RunContext, Lease]] = field(default_factory=list)

    def __post_init__(self) -> None:
        log = jobs.log.get().bind(environment=self.environment.name, job=self.job.name)
        self.heartbeat = Heartbeat(self.environment.alerts.heartbeat.get(self.job.name), log)
        self.courier = AlertQueue(self.environment, self.store, log, self.now)

    def stop_all(self, signal_name: str) -> None:
        """End every run, and let none begin."""
        with self._lock:
            self._why = f"stopped by {signal_name}"
            runs = list(self._runs)
        for run in runs:
            run.log.info("told to end", by=signal_name)
            run.stop.tell(self._why)

    def warn_again(self) -> None:
        for run in self._runs:
            run.log.warning(
                "still ending: aborts its uploads and writes its record; if you kill it now, "
                f"its lock stays for {self._lease_seconds(run):g} s, and open uploads until the next retention run"
            )

    def run(self, subject: str) -> Record:
        """One subject from lock to release. Whatever goes wrong, it ends in a record."""
        run = self._new_run(subject)
        try:
            run.check()
            if self.options.dry_run:
                return self._ended(run, self._work(run, None))
            lease = self._take(run)
        except LockHeld as error:
            run.log.warning("not run", why=str(error))
            return self._ended(run, Result(Outcome.HELD, str(error)))
        except Exception as error:
            record = self._ended(run, failed_result(run, error))
            run.log.warning("never began", why=record.sentence)
            if not isinstance(error, Stopped):
                self._announce(run, record)
            return record
        return self._locked(run, lease)

    def close(self, ended: Sequence[Record]) -> None:
        """What is left when all subjects have ended."""
        end_bars()
        self.courier.close()
        said = "\n".join(f"{record.name}: {record.outcome}: {record.sentence}" for record in ended)
        self.heartbeat.end(any(record.outcome is Outcome.FAILED for record in ended), said)
        for run, lease in self._left_behind:
            self._release(run, lease)
        if self._left_behind:  # threads that don't come back must not keep the program from ending
            last_resort = threading.Timer(3, os._exit, (1,))
            last_resort.daemon = True
            last_resort.start()

    def _new_run(self, subject: str) -> RunContext:
        started, stop = self.now(), Stop(self.patience.term)
        line = self.job.schedule(self.environment, subject) if self.options.scheduled else None
        tick = latest_tick(line, self.environment.timezone, started) if line else None
        run = new_run(
            self.environment, self.store, self.job.name, subject,
            options=self.options, started=started, stop=stop, tick=tick,
        )  # fmt: skip
        with self._lock:
            self._runs.append(run)
            if self._why:
                stop.tell(self._why)
        return run

    def _lease_seconds(self, run: RunContext) -> float:
        return self.job.lease(self.environment, run.subject).total_seconds()

    def _take(self, run: RunContext) -> Lease:
        lock = Lock(self.environment.name, run.name, self.environment.timezone, self.store, self.now)
        since, seconds = self.now(), self._lease_seconds(run)
        wanted = Holder(run.id, socket.gethostname(), os.getpid(), since, seconds, run.tick)
        attempt = partial(acquire, lock, wanted, run.stop.wait, run.log, patient=self.options.scheduled)
        return self._of_store(attempt, run, run.stop.wait)

    def _of_store(self, call: Callable[[], T], run: RunContext, sleep: Callable[[float], object]) -> T:
        return retry(call, self.patience.store, sleep, run.log, self.patience.silence)

    def _locked(self, run: RunContext, lease: Lease) -> Record:
        lease.keep(run.stop.tell)
        try:
            return self._unless_done(run, lease)
        finally:
            run.stop.finish()
            if run.left_behind:
                self._left_behind.append((run, lease))
            else:
                self._release(run, lease)

    def _unless_done(self, run: RunContext, lease: Lease) -> Record:
        """Run what has no record that says done, under a lock that is ours."""
        earlier, gap = None, None
        try:
            earlier, gap = self._before(run)
            if earlier and earlier.complete:
                return self._already(run, lease, earlier)
            self.heartbeat.start()
            result = self._work(run, lease)
        except Exception as error:
            result = failed_result(run, error)
        record = self._save(run, lease, self._ended(run, result, lease, earlier, gap))
        self._announce(run, record)
        return record

    def _already(self, run: RunContext, lease: Lease, earlier: Record) -> Record:
        run.log.info("this tick was run already", by=earlier.run, outcome=earlier.outcome)
        if lease.holder.took_over:  # who ran it may have died before he told
            self._announce(run, earlier)
        return earlier

    def _before(self, run: RunContext) -> tuple[Record | None, Gap | None]:
        """This tick's record, if an earlier attempt left one, and the ticks that nobody ran."""
        if not run.tick:
            return None, None
        of, line = (self.environment.name, run.job, run.subject), self.job.schedule(self.environment, run.subject)
        read = partial(read_record, self.store, tick_key(*of, run.tick))
        earlier = self._of_store(read, run, run.stop.wait)
        last = self._of_store(partial(last_tick, self.store, *of, run.tick), run, run.stop.wait)
        gap = missed_ticks(line, self.environment.timezone, last, run.tick) if line else None
        if gap:
            run.log.warning("ticks were missed", ticks=gap.ticks, first=str(gap.first), last=str(gap.last))
        return earlier, gap

    def _work(self, run: RunContext, lease: Lease | None) -> Result:
        """What the work returns. It has a thread of its own, so that it can be left behind if it doesn't end."""
        done: Future[Result] = Future()
        try:
            limit, woken = self.job.limit(self.environment, run.subject), threading.Event()
            done.add_done_callback(lambda _: woken.set())
            with run.on_stop(woken.set):
                threading.Thread(target=self._try, args=(run, done), name=run.name, daemon=True).start()
                self._watch(run, lease, limit, woken)
            wait([done], None if not run.stop.told else self.patience.giving_up)
            if not done.done():
                run.left_behind = True
                raise Stopped(run.stop.why)  # noqa: TRY301
            return done.result()
        except Exception as error:
            return failed_result(run, error)

    def _try(self, run: RunContext, done: Future[Result]) -> None:
        def once() -> Result:
            run.check()
            run.tries += 1
            return self.job.work(run)

        names = {"run": run.id, "environment": run.environment.name, "job": run.job, "subject": run.subject}
        try:
            with jobs.log.log_context(**names):
                result = retry(once, self.patience.work, run.stop.wait, run.log)
            done.set_result(result)
        except BaseException as error:
            done.set_exception(error)

    def _watch(self, run: RunContext, lease: Lease | None, limit: timedelta, woken: threading.Event) -> None:
        """Wait for the end of the work, of its time, or of its lock."""
        until = time.monotonic() + limit.total_seconds()
        while not woken.wait(max(0, min(until - time.monotonic(), lease.left() if lease else limit.total_seconds()))):
            if time.monotonic() >= until:
                run.stop.tell(f"stopped by its time limit of {limit}")
            elif lease and lease.left() <= 0:
                run.stop.tell("its lock was lost: it could not be renewed in time")

    def _ended(
        self, run: RunContext, result: Result, lease: Lease | None = None, earlier: Record | None = None,
        gap: Gap | None = None,
    ) -> Record:  # fmt: skip
        attempts = (
            (earlier.attempts if earlier else 0) + max(1, run.tries) + (lease.holder.attempts - 1 if lease else 0)
        )
        sentence = result.sentence
        if run.left_behind:
            sentence += f"; it did not end within {self.patience.giving_up:g} s and was left behind"
        return Record(
            environment=self.environment.name, job=run.job, subject=run.subject, run=run.id, tick=run.tick,
            started=run.started, ended=self.now(), outcome=result.outcome, sentence=redact(sentence),
            figures=result.figures, about=redact(result.about), attempts=attempts, stopped=run.stop.why or None,
            host=socket.gethostname(), pid=os.getpid(), scheduled=self.options.scheduled,
            took_over=lease.holder.took_over if lease else None, missed=gap, log=tuple(run.tail.lines),
            tidings=result.tidings,
        )  # fmt: skip

    def _save(self, run: RunContext, lease: Lease, record: Record) -> Record:
        """Write the record, under the tick only while the tick is ours. A run without a record has failed."""
        run.log.info("run ended", outcome=record.outcome, sentence=record.sentence)
        key = f"{record_prefix(record.environment, record.job, record.subject)}{record.run}.json"
        if record.tick and lease.left() > 0 and not lease.lost:
            key = tick_key(record.environment, record.job, record.subject, record.tick)
        body = record_to(replace(record, log=tuple(run.tail.lines)))
        try:
            self._of_store(partial(self.store.put, key, body), run, time.sleep)
        except Exception as error:
            run.log.critical("THE RECORD COULD NOT BE WRITTEN", key=key, why=redact(str(error)))
            sentence = f"{record.sentence}; but its record could not be written: {redact(str(error))}"
            return replace(record, outcome=Outcome.FAILED, sentence=sentence)
        return record

    def _announce(self, run: RunContext, record: Record) -> None:
        """Metrics and alerts: neither fails the run. Who pressed Ctrl-C knows, and needs no alert."""
        try:
            line = self.job.schedule(self.environment, record.subject)
            metrics.write(record, self.environment, line, partial(self.job.knows, self.environment))
        except Exception as error:
            run.log.warning("metrics not written", why=redact(str(error)))
        if record.stopped != "stopped by SIGINT":
            self.courier.add(record)

    def _release(self, run: RunContext, lease: Lease) -> None:
        try:
            self._of_store(lease.release, run, time.sleep)
        except Exception as error:
            run.log.warning("lock not released: it ends with its lease", lock=run.name, why=redact(str(error)))
