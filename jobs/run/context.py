"""One run in progress, as the job's work sees it."""

from __future__ import annotations

import random
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from inventories import Environment, redact
from jobs.log import LOGGER_NAME, structlog_config
from jobs.run.documents import key_timestamp, utc_now
from jobs.run.job import Options
from jobs.run.progress import Progress, end_bars
from jobs.run.stop import Stop, stopped_by_signals
from jobs.run.tracing import StepTiming
from jobs.store import Expired, OutOfReach, Store

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, WrappedLogger

LOG_LINES = 200
LOG_LINE_LENGTH = 2000


def new_run_id(started: datetime) -> str:
    """Return a unique id that sorts by time."""
    return f"{key_timestamp(started)}-{secrets.token_hex(3)}"


@dataclass
class LogTail:
    """A structlog processor that passes every event on and keeps the last lines for the run record."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    def __call__(
        self, _logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        from structlog.processors import format_exc_info

        left_out = ("event", "exc_info", "run", "job", "subject", "environment")
        fields = [f"{name}={value}" for name, value in event.items() if name not in left_out]
        line = " ".join([f"{utc_now():%H:%M:%SZ}", method, str(event["event"]), *fields])
        trace = format_exc_info(_logger, method, {"exc_info": event.get("exc_info")})
        for text in [line, *trace.get("exception", "").splitlines()]:
            self.lines.append(redact(text[: 2 * LOG_LINE_LENGTH])[:LOG_LINE_LENGTH])
        return event


def run_logger(tail: LogTail, **bound: str) -> FilteringBoundLogger:
    """Return a logger as configured, which also keeps its lines in the tail."""
    import structlog

    config = structlog_config()
    log: FilteringBoundLogger = structlog.wrap_logger(
        config["logger_factory"](LOGGER_NAME),
        processors=[tail, *config["processors"]],
        wrapper_class=config["wrapper_class"],
        context_class=config["context_class"],
        cache_logger_on_first_use=False,
    )
    return log.bind(**bound)


@dataclass
class RunContext:
    """One run of one job on one subject; jobs.run.job.Run describes its methods."""

    id: str
    environment: Environment
    store: Store
    job: str
    subject: str
    tick: datetime | None
    started: datetime
    options: Options
    log: FilteringBoundLogger
    stop: Stop
    tail: LogTail
    earlier_figures: Sequence[Mapping[str, object]] = ()
    turn_share: Fraction = Fraction(1)
    tries: int = 0
    abandoned: bool = False
    pauses: tuple[float, float] = (5, 60)
    """The first and the longest pause before a request that tests whether the store answers again, in seconds."""
    renew_lock: Callable[[], None] = lambda: None
    confirm_lock: Callable[[], None] = lambda: None
    steps: list[StepTiming] = field(default_factory=list)
    """The steps that ended."""
    _progress: Progress = field(default_factory=Progress)

    @property
    def name(self) -> str:
        return f"{self.job}/{self.subject}"

    def check(self) -> None:
        self.stop.check()

    def on_stop(self, end: Callable[[], object]) -> AbstractContextManager[None]:
        return self.stop.on_stop(end)

    def process(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        return self.stop.process(argv, **popen)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        self.check()
        started, began = time.monotonic(), utc_now()
        self.log.info("step started", step=name)
        try:
            yield
        except BaseException:
            self.log.warning("step failed", step=name, seconds=round(time.monotonic() - started, 1))
            self.steps.append(StepTiming(name, began, utc_now(), failed=True))
            raise
        self.steps.append(StepTiming(name, began, utc_now(), failed=False))
        self.log.info("step finished", step=name, seconds=round(time.monotonic() - started, 1))

    def wait_for_store(self, failed: int = 0, check: Callable[[], None] = lambda: None) -> None:
        renew, began, waits = self.renew_lock if failed else self.confirm_lock, time.monotonic(), False
        while True:
            check()
            if failed:
                self.stop.wait(_pause(failed, *self.pauses))
            try:
                renew()
                break
            except (OutOfReach, Expired) as error:
                if not waits:
                    self.log.warning("waiting for the store", why=redact(str(error)))
                failed, waits = failed + 1, True
        self.check()
        if waits:
            self.log.info("store answers again", waited_seconds=round(time.monotonic() - began, 1))

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        self._progress.report(self.log, f"{self.subject}: {what}", done, total)


def _pause(failed: int, first: float, longest: float) -> float:
    """Return a pause that grows with the number of failures and has jitter."""
    return random.SystemRandom().uniform(0.5, 1) * min(first * 2.0 ** (failed - 1), longest)


def new_run(
    environment: Environment,
    store: Store,
    job: str,
    subject: str,
    *,
    options: Options,
    started: datetime,
    stop: Stop,
    tick: datetime | None = None,
) -> RunContext:
    tail, run_id = LogTail(), new_run_id(started)
    log = run_logger(tail, run=run_id, environment=environment.name, job=job, subject=subject)
    return RunContext(run_id, environment, store, job, subject, tick, started, options, log, stop, tail)


@contextmanager
def unrecorded_run(
    environment: Environment,
    store: Store,
    job: str,
    subject: str,
    options: Options | None = None,
    *,
    warning: str = "still stopping, please wait",
) -> Iterator[RunContext]:
    """Give a run without lock or record to a command in the main thread; signals stop it cleanly."""
    with stopped_by_signals(lambda: run.log.warning(warning)) as stop:
        run = new_run(environment, store, job, subject, options=options or Options(), started=utc_now(), stop=stop)
        try:
            yield run
        finally:
            stop.finish()
            end_bars()
