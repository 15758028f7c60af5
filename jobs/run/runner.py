"""Runs a job. Every run takes this path: lock, heartbeat, work, record, metrics, alerts, release of the lock."""

from __future__ import annotations

import math
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import jobs.log
from inventories import CrewError, Environment, ExitCode, redact
from jobs.author import invoked_command, user_name
from jobs.run import metrics
from jobs.run.alert_queue import AlertQueue
from jobs.run.context import RunContext, new_run
from jobs.run.documents import utc_now
from jobs.run.heartbeat import Heartbeat
from jobs.run.holders import known_locks, write_snapshot
from jobs.run.job import Job, Options, Outcome, Result
from jobs.run.latest import NO_RUNS, RunSummary, SubjectRuns
from jobs.run.lease import Holder, KnownLock, Lease, Lock, LockHeld, acquire, lock_key
from jobs.run.progress import end_bars
from jobs.run.pushing import MetricsGateway
from jobs.run.record import Record, already_done, find_record, record_of_dead_run, record_to
from jobs.run.stop import STOPPED_BY, Stop, Stopped, on_signals
from jobs.run.ticks import Gap, latest_tick, missed_ticks, period
from jobs.run.tracing import Traces
from jobs.run.turns import Turns
from jobs.store import Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

T = TypeVar("T")

MAX_WAITING = 100  # subjects of a run that wait for a lock or for their turn, each in a thread
MANY_SUBJECTS = 3  # from here on, one request for the snapshot of all locks spares a request for each


@dataclass(frozen=True, slots=True)
class RunTimeouts:
    """Delays and time limits of runs, in seconds."""

    work_retries: tuple[float, ...] = (5, 20, 60)  # the delay before each further try of the work
    store_retries: tuple[float, ...] = (1, 2, 5, 10, 20)  # the delay before each further try to lock or to write
    store_pauses: tuple[float, float] = (5, 60)  # the first and the longest pause of work that waits for the store
    store_unreachable: float = 60  # no further try of the store after that: each one can take minutes
    kill_after: float = 8  # from SIGTERM to SIGKILL
    abandon_after: float = 12  # from the request to stop until the work is abandoned


def run_job(
    job: Job,
    environment: Environment,
    store: Store,
    options: Options,
    *,
    now: Callable[[], datetime] = utc_now,
    timeouts: RunTimeouts = RunTimeouts(),
) -> list[Record]:
    """Run a job on its subjects, some of them in parallel, and return their records."""
    runner = JobRunner(job, environment, store, options, now, timeouts)
    subjects = job.subjects(environment, store, options)
    runner.know_locks(subjects)
    threads = min(max(1, len(subjects)), job.max_parallel + MAX_WAITING)
    with on_signals(runner.stop_all, runner.warn_again), ThreadPoolExecutor(threads) as pool:
        records = list(pool.map(runner.run, subjects))
        runner.close(records)
    return records


def exit_code(records: Iterable[Record], *, scheduled: bool) -> int:
    """Return the exit code for some runs; with `scheduled`, only failures count."""
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
    give_up_after: float = math.inf,
) -> T:
    """Return the result of a call; try again after each delay, with jitter, while its errors are retryable."""
    started = time.monotonic()
    pauses = [delay * random.SystemRandom().uniform(0.5, 1.5) for delay in delays]
    for at, pause in enumerate(pauses):
        try:
            return call()
        except CrewError as error:
            if not error.retryable or time.monotonic() - started > give_up_after:
                raise
            last_try = utc_now() + timedelta(seconds=sum(pauses[at:]))
            log.warning("failed, trying again", why=redact(str(error)), in_seconds=round(pause, 1),
                        tries_left=len(pauses) - at, last_try=f"{last_try:%H:%M:%S} UTC")  # fmt: skip
            sleep(pause)
    return call()


def failed_result(run: RunContext, error: BaseException) -> Result:
    """Return the result for an exception: the reason of a stop, an error that explains itself, or a bug."""
    if run.stop.requested:
        return Result(Outcome.FAILED, run.stop.reason)
    if isinstance(error, CrewError):
        return Result(Outcome.FAILED, error.on_one_line)
    run.log.error("bug in groundcrew", exc_info=error)
    return Result(Outcome.FAILED, f"a bug: {type(error).__name__}: {error}; its traceback is in the log")


@dataclass
class JobRunner:
    """One call of run_job(), with all that its runs share."""

    job: Job
    environment: Environment
    store: Store
    options: Options
    now: Callable[[], datetime]
    timeouts: RunTimeouts
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop_reason: str = ""
    _runs: list[RunContext] = field(default_factory=list)
    _abandoned: list[tuple[RunContext, Lease]] = field(default_factory=list)
    _known: Mapping[str, KnownLock] = field(default_factory=dict)
    _for_snapshot: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        log = jobs.log.get().bind(environment=self.environment.name, job=self.job.name)
        self.heartbeat = Heartbeat(self.environment.alerts.heartbeat.get(self.job.name), log)
        self.gateway = MetricsGateway(self.environment.metrics.push)
        self.traces = Traces()
        self.alerts = AlertQueue(self.environment, self.store, log, self.now)
        self._turns = Turns(self.job.max_parallel)

    def stop_all(self, signal_name: str) -> None:
        """Stop every run, and let no further run start."""
        with self._lock:
            self._stop_reason = STOPPED_BY + signal_name
            runs = list(self._runs)
        for run in runs:
            run.log.info("stopping", by=signal_name)
            run.stop.request(self._stop_reason)

    def warn_again(self) -> None:
        for run in self._runs:
            run.log.warning(
                "still stopping: aborting uploads and writing the record; if you kill it now, its lock stays for "
                f"{self._lease_seconds(run):g} s, and its open uploads stay until the next retention run"
            )

    def know_locks(self, subjects: Sequence[str]) -> None:
        """Read the locks of many subjects at once. Without that, each run reads its own."""
        if len(subjects) >= MANY_SUBJECTS:
            keys = {self._lock_key(subject) for subject in subjects}
            with suppress(StoreError):  # the runs themselves report it
                self._known = known_locks(self.store, self.environment.name, keys)

    def _lock_key(self, subject: str) -> str:
        return lock_key(self.environment.name, self.job.name, subject)

    def run(self, subject: str) -> Record:
        """Run one subject when it is its turn, and return its record, whatever happens."""
        share = self._turn_share(subject)
        with self._turns.taken(share):
            return self._run(subject, share)

    def _turn_share(self, subject: str) -> Fraction:
        known = self._known.get(self._lock_key(subject))
        return self.job.turn_share(self.environment, subject, known.holder.runs.figures if known else ())

    def _run(self, subject: str, share: Fraction) -> Record:
        run = self._new_run(subject, share)
        try:
            run.check()
            if self.options.dry_run:
                return self._record(run, self._work(run, None))
            lease = self._acquire(run)
        except LockHeld as error:
            run.log.warning("run skipped, lock held", why=str(error))
            return self._record(run, Result(Outcome.HELD, str(error)))
        except Exception as error:
            record = self._record(run, failed_result(run, error))
            run.log.warning("run not started", why=record.sentence)
            if not isinstance(error, Stopped):
                self._announce(run, record)
            return record
        return self._run_locked(run, lease)

    def close(self, records: Sequence[Record]) -> None:
        """Send what is left to send, and release the locks of abandoned runs."""
        end_bars()
        self.alerts.close()
        report = "\n".join(f"{record.name}: {record.outcome}: {record.sentence}" for record in records)
        self.heartbeat.end(any(record.outcome is Outcome.FAILED for record in records), report)
        for run, lease in self._abandoned:
            self._release(run, lease)
        self._update_snapshot()
        self._send_traces()
        self._finish()
        if self._abandoned:  # abandoned threads must not keep the program running
            last_resort = threading.Timer(3, os._exit, (ExitCode.FAILED,))
            last_resort.daemon = True
            last_resort.start()

    def _send_traces(self) -> None:
        try:
            self.traces.send()
        except Exception as error:
            log = jobs.log.get().bind(environment=self.environment.name, job=self.job.name)
            log.warning("traces not sent", why=redact(str(error)))

    def _finish(self) -> None:
        if self.options.dry_run or self._stop_reason:
            return
        log = jobs.log.get().bind(environment=self.environment.name, job=self.job.name)
        try:
            self.job.finish(self.environment, self.store, log)
        except Exception as error:
            log.warning("job not finished", why=redact(str(error)))

    def _new_run(self, subject: str, share: Fraction) -> RunContext:
        started, stop = self.now(), Stop(self.timeouts.kill_after)
        line = self.job.schedule(self.environment, subject) if self.options.scheduled else None
        tick = latest_tick(line, self.environment.timezone, started) if line else None
        run = new_run(
            self.environment, self.store, self.job.name, subject,
            options=self.options, started=started, stop=stop, tick=tick,
        )  # fmt: skip
        run.turn_share, run.pauses = share, self.timeouts.store_pauses
        with self._lock:
            self._runs.append(run)
            if self._stop_reason:
                stop.request(self._stop_reason)
        return run

    def _lease_seconds(self, run: RunContext) -> float:
        return self.job.lease(self.environment, run.subject).total_seconds()

    def _acquire(self, run: RunContext) -> Lease:
        lock = Lock(self.environment.name, run.job, run.subject, self.environment.timezone, self.store, self.now)
        since, seconds = self.now(), self._lease_seconds(run)
        host, user = socket.gethostname(), user_name()
        holder = Holder(run.id, host, os.getpid(), since, seconds, run.tick, user=user, command=invoked_command())
        # A subject that waits for a lock often does so as long as a lease lasts: others have its turn meanwhile.
        idle, known = partial(self._turns.lent, run.turn_share), self._known.get(lock.key)
        attempt = partial(
            acquire, lock, holder, run.stop.wait, run.log,
            patient=self.options.scheduled, idle=idle, known=known,
        )  # fmt: skip
        return self._retry_store(attempt, run, run.stop.wait)

    def _retry_store(self, call: Callable[[], T], run: RunContext, sleep: Callable[[float], object]) -> T:
        return retry(call, self.timeouts.store_retries, sleep, run.log, self.timeouts.store_unreachable)

    def _run_locked(self, run: RunContext, lease: Lease) -> Record:
        lease.keep(run.stop.request, self.job.outlasts)
        run.renew_lock, run.confirm_lock = lease.renew, lease.confirm
        try:
            return self._run_unless_complete(run, lease)
        finally:
            run.stop.finish()
            if run.abandoned:
                self._abandoned.append((run, lease))
            else:
                self._release(run, lease)

    def _run_unless_complete(self, run: RunContext, lease: Lease) -> Record:
        """Run under our lock, unless the tick has a complete record."""
        earlier, gap = None, None
        try:
            if lease.died:
                self._record_death(run, lease, lease.died)
            earlier = lease.runs.earlier_try(run.tick) if run.tick else None
            if earlier and earlier.complete and (record := self._find_record(run, earlier.run)):
                return self._skip(run, lease, record)
            gap = self._missed_ticks(run, lease)
            run.earlier_figures = lease.runs.figures
            self.heartbeat.start()
            result = self._work(run, lease)
        except Exception as error:
            result = failed_result(run, error)
        record = self._save(run, self._record(run, result, lease, earlier, gap))
        if lease.seconds_left() > 0 and not lease.lost:
            lease.runs = lease.runs.with_run(record.summary, self._compared(record), run.job)
        self._announce(run, record, lease.runs)
        return record

    def _record_death(self, run: RunContext, lease: Lease, dead: Holder) -> None:
        """Add the run that held the lock before and died; perhaps it died after it wrote its own record."""
        record = self._find_record(run, dead.run)
        if record is None:
            record = record_of_dead_run(self.environment.name, run.name, dead)
            self._retry_store(partial(self.store.put, record.key, record_to(record)), run, run.stop.wait)
        lease.runs = lease.runs.with_run(record.summary, self._compared(record), run.job)

    def _compared(self, record: Record) -> dict[str, object]:
        return {name: record.figures[name] for name in self.job.compared if name in record.figures}

    def _find_record(self, run: RunContext, run_id: str) -> Record | None:
        return self._retry_store(partial(find_record, self.store, self.environment.name, run_id), run, run.stop.wait)

    def _skip(self, run: RunContext, lease: Lease, earlier: Record) -> Record:
        run.log.info("run skipped, already complete", by=earlier.run, outcome=earlier.outcome)
        if lease.holder.took_over:  # the run that died possibly has not sent its alerts
            self._announce(run, earlier, lease.runs)
        return replace(earlier, sentence=already_done(earlier, self.now(), self.environment.timezone))

    def _missed_ticks(self, run: RunContext, lease: Lease) -> Gap | None:
        """Return the ticks between the last one that has a record and this one."""
        line = self.job.schedule(self.environment, run.subject)
        if not run.tick or not line:
            return None
        gap = missed_ticks(line, self.environment.timezone, lease.runs.tick_before(run.tick), run.tick)
        if gap:
            run.log.warning("scheduled times missed", missed=gap.ticks, first=str(gap.first), last=str(gap.last))
        return gap

    def _work(self, run: RunContext, lease: Lease | None) -> Result:
        """Do the work in a separate thread, so that it can be abandoned if it does not stop."""
        done: Future[Result] = Future()
        try:
            limit, woken = self.job.limit(self.environment, run.subject), threading.Event()
            done.add_done_callback(lambda _: woken.set())
            with run.on_stop(woken.set):
                threading.Thread(target=self._try, args=(run, done), name=run.name, daemon=True).start()
                self._watch(run, lease, limit, woken)
            wait([done], None if not run.stop.requested else self.timeouts.abandon_after)
            if not done.done():
                run.abandoned = True
                raise Stopped(run.stop.reason)  # noqa: TRY301
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
                result = retry(once, self.timeouts.work_retries, run.stop.wait, run.log)
            done.set_result(result)
        except BaseException as error:
            done.set_exception(error)

    def _watch(self, run: RunContext, lease: Lease | None, limit: timedelta, woken: threading.Event) -> None:
        """Wait until the work ends; stop it at its time limit or when its lock expires."""
        deadline = time.monotonic() + limit.total_seconds()

        def seconds_left() -> float:
            left = deadline - time.monotonic()
            return max(0, min(left, lease.seconds_until_lost() if lease else left))

        while not woken.wait(seconds_left()):
            if time.monotonic() >= deadline:
                run.stop.request(f"stopped by its time limit of {limit}")
            elif lease and lease.seconds_until_lost() <= 0:
                run.stop.request("its lock was lost: it could not be renewed in time")

    def _record(
        self, run: RunContext, result: Result, lease: Lease | None = None, earlier: RunSummary | None = None,
        gap: Gap | None = None,
    ) -> Record:  # fmt: skip
        attempts = (earlier.attempts if earlier else 0) + max(1, run.tries)
        sentence = result.sentence
        if run.abandoned:
            sentence += f"; the work did not stop within {self.timeouts.abandon_after:g} s and was abandoned"
        return Record(
            environment=self.environment.name, job=run.job, subject=run.subject, run=run.id, tick=run.tick,
            started=run.started, ended=self.now(), outcome=result.outcome, sentence=redact(sentence),
            figures=result.figures, about=redact(result.about), attempts=attempts, stopped=run.stop.reason or None,
            host=socket.gethostname(), pid=os.getpid(), scheduled=self.options.scheduled,
            took_over=lease.holder.took_over if lease else None, missed=gap, log=tuple(run.tail.lines),
            user=user_name(), command=invoked_command(), notice=result.notice, details=result.details,
        )  # fmt: skip

    def _save(self, run: RunContext, record: Record) -> Record:
        """Write the record. A run without a record has failed."""
        run.log.info("run finished", outcome=record.outcome, sentence=record.sentence)
        body = record_to(replace(record, log=tuple(run.tail.lines)))
        try:
            self._retry_store(partial(self.store.put, record.key, body), run, time.sleep)
        except Exception as error:
            run.log.critical("RECORD NOT WRITTEN", key=record.key, why=redact(str(error)))
            sentence = f"{record.sentence}; but its record could not be written: {redact(str(error))}"
            return replace(record, outcome=Outcome.FAILED, sentence=sentence)
        return record

    def _announce(self, run: RunContext, record: Record, runs: SubjectRuns = NO_RUNS) -> None:
        """Write metrics and queue alerts; an error there does not fail the run. After Ctrl-C, send no alert."""
        self.traces.add(record, run.steps)
        try:
            line = self.job.schedule(self.environment, record.subject)
            metrics.write(record, self.environment, line, partial(self.job.has_subject, self.environment), runs)
            to_next_tick = period(line, self.environment.timezone, record.started) if line else None
            self.gateway.push(record, to_next_tick, runs)
        except Exception as error:
            run.log.warning("metrics not written", why=redact(str(error)))
        if record.stopped != f"{STOPPED_BY}SIGINT":
            self.alerts.add(record)

    def _release(self, run: RunContext, lease: Lease) -> None:
        try:
            self._retry_store(lease.release, run, time.sleep)
        except Exception as error:
            run.log.warning("lock not released; it expires with its lease", lock=run.name, why=redact(str(error)))
            return
        if not lease.lost:
            self._for_snapshot[self._lock_key(run.subject)] = (lease.version, lease.body)

    def _update_snapshot(self) -> None:
        """Spare later readers of all locks a request for each lock that this process released."""
        if not self._for_snapshot:
            return
        try:
            write_snapshot(self.store, self.environment.name, self._for_snapshot)
        except Exception as error:
            jobs.log.get().debug("snapshot of the locks not written", why=redact(str(error)))
