"""One run while it lives, as the job's work sees it."""

from __future__ import annotations

import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from inventories import Environment, redact
from jobs.log import LOGGER_NAME, structlog_config
from jobs.run.documents import key_timestamp, utc_now
from jobs.run.job import Options
from jobs.run.progress import Progress, end_bars
from jobs.run.stop import Stop, stopped_by_signals
from jobs.store import Store

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, WrappedLogger

TAIL_LINES = 200
TAIL_LINE_LENGTH = 2000


def new_run_id(started: datetime) -> str:
    """Sorts by time, and no two are the same."""
    return f"{key_timestamp(started)}-{secrets.token_hex(3)}"


@dataclass
class LogTail:
    """The last lines of a run's log, kept for its record; a structlog processor that lets everything through."""

    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def __call__(
        self, _logger: WrappedLogger, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        from structlog.processors import format_exc_info

        told = {
            k: v for k, v in event.items() if k not in ("event", "exc_info", "run", "job", "subject", "environment")
        }
        words = " ".join([str(event["event"]), *(f"{k}={v}" for k, v in told.items())])
        trace = format_exc_info(_logger, method, {"exc_info": event.get("exc_info")})
        for line in [f"{utc_now():%H:%M:%SZ} {method} {words}", *trace.get("exception", "").splitlines()]:
            self.lines.append(redact(line[: 2 * TAIL_LINE_LENGTH])[:TAIL_LINE_LENGTH])
        return event


def run_logger(tail: LogTail, **bound: str) -> FilteringBoundLogger:
    """The configured log, whose lines are also kept in the tail."""
    import structlog

    set_up = structlog_config()
    log: FilteringBoundLogger = structlog.wrap_logger(
        set_up["logger_factory"](LOGGER_NAME),
        processors=[tail, *set_up["processors"]],
        wrapper_class=set_up["wrapper_class"],
        context_class=set_up["context_class"],
        cache_logger_on_first_use=False,
    )
    return log.bind(**bound)


@dataclass
class RunContext:
    """One run of one job on one subject; see jobs.run.job.Run for what it offers."""

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
    tries: int = 0
    left_behind: bool = False
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
        begun = time.monotonic()
        self.log.info("step begins", step=name)
        try:
            yield
        except BaseException:
            self.log.warning("step failed", step=name, seconds=round(time.monotonic() - begun, 1))
            raise
        self.log.info("step done", step=name, seconds=round(time.monotonic() - begun, 1))

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        self._progress.tell(self.log, f"{self.subject}: {what}", done, total)


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
    tail, name = LogTail(), new_run_id(started)
    log = run_logger(tail, run=name, environment=environment.name, job=job, subject=subject)
    return RunContext(name, environment, store, job, subject, tick, started, options, log, stop, tail)


@contextmanager
def unrecorded_run(
    environment: Environment,
    store: Store,
    job: str,
    subject: str,
    options: Options | None = None,
    *,
    warning: str = "still ending; wait",
) -> Iterator[RunContext]:
    """A run without lock or record, for a command that works in the main thread and is to end cleanly on a signal."""
    with stopped_by_signals(lambda: run.log.warning(warning)) as stop:
        run = new_run(environment, store, job, subject, options=options or Options(), started=utc_now(), stop=stop)
        try:
            yield run
        finally:
            stop.finish()
            end_bars()
