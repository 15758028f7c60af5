"""Logs to stderr: readable lines on a terminal, else JSON. Each line names its run; secrets are redacted.

structlog takes 0.1 s to import, and most commands log nothing. So it is imported for the first line, and without rich.
"""

from __future__ import annotations

import contextvars
import importlib
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar, cast

from inventories import redact, redact_all
from inventories.printable import printable, printable_lines

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

P = ParamSpec("P")
R = TypeVar("R")

LOGGER_NAME = "groundcrew"


def configure(verbose: int = 0, *, quiet: bool = False) -> None:
    """Log our lines and the warnings of libraries to stderr; `verbose` 1 and 2 log more, `quiet` only errors."""
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
    _pending[:] = [partial(_configure_structlog, level)]
    handler = StderrHandler()
    handler.setFormatter(RedactingFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.ERROR if quiet else [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    logging.getLogger(LOGGER_NAME).setLevel(logging.DEBUG)
    logging.captureWarnings(capture=True)


_pending: list[Callable[[], None]] = []
_configuring = threading.Lock()


@cache
def _load_structlog() -> None:
    """Import structlog without rich, which takes two fifths of the time: only tracebacks in colour need it.

    An import of rich fails meanwhile, so rich is hidden only while no other thread runs.
    """
    modules: dict[str, Any] = sys.modules
    hides = "rich" not in modules and threading.active_count() == 1
    if hides:
        modules["rich"] = None
    try:
        importlib.import_module("structlog")
    finally:
        if hides:
            del modules["rich"]


def _configure_structlog(level: int) -> None:
    import structlog

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, *_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def structlog_config() -> dict[str, Any]:
    """Return the configuration of structlog, after configuring it if that is pending."""
    _load_structlog()
    import structlog

    with _configuring:
        while _pending:
            _pending.pop()()
    return structlog.get_config()


class RedactingFormatter(logging.Formatter):
    """Formats our lines and those of libraries in the same way, and redacts secrets."""

    @cached_property
    def _formatter(self) -> logging.Formatter:
        _load_structlog()
        import structlog

        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, *_common()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                _renderer(),
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._formatter.format(record)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stderr, not to that of the time when logging was configured."""

    @property
    def stream(self) -> TextIO:
        """Return the current stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None: ...


def get() -> FilteringBoundLogger:
    """Return the logger of groundcrew."""
    structlog_config()
    import structlog

    return cast("FilteringBoundLogger", structlog.get_logger(LOGGER_NAME))


@contextmanager
def log_context(**names: str) -> Iterator[None]:
    """Add fields (run, job, subject) to each line that this thread logs inside this context."""
    _load_structlog()
    import structlog

    with structlog.contextvars.bound_contextvars(**names):
        yield


def with_log_context(call: Callable[P, R]) -> Callable[P, R]:
    """Return the same call for another thread, with the log fields of this thread. Threads do not inherit them."""
    context = contextvars.copy_context()

    def call_in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        return context.copy().run(call, *args, **kwargs)

    return call_in_context


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact known secrets in all values of an event, whatever their types."""
    return {redact(key): redact_all(value) for key, value in event.items()}


def _common() -> list[Processor]:
    """Return the processors for all lines: local time on a terminal, else date and time in UTC."""
    import structlog

    terminal = sys.stderr.isatty()
    timestamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if terminal else "iso", utc=not terminal)
    return [structlog.contextvars.merge_contextvars, timestamp]


def shows_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and no variable turns them off (see no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _renderer() -> Processor:
    if shows_colours(sys.stderr):
        return format_for_terminal
    if sys.stderr.isatty():
        return format_without_colours
    import structlog

    return structlog.processors.JSONRenderer()


def format_for_terminal(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return a short line: the time, the job and subject, the event, and in grey all other fields and the run."""
    fields = {printable(name): value if name == "exception" else printable(str(value)) for name, value in event.items()}
    time, level, what = fields.pop("timestamp", ""), fields.pop("level", "info"), fields.pop("event", "")
    run, trace = fields.pop("run", ""), fields.pop("exception", "")
    about = " ".join(fields.pop(name) for name in ("job", "subject", "logger") if fields.get(name))
    fields.pop("environment", None)
    rest = " ".join([*(f"{name}={value}" for name, value in fields.items()), run])
    severity = "" if level in ("info", "debug") else f"{_COLOURS.get(level, '')}{level}{_PLAIN} "
    start = " ".join(filter(None, (f"{_GREY}{time}{_PLAIN}", about and f"{about}:", f"{severity}{what}")))
    return f"{start} {_GREY}{rest}{_PLAIN}" + (f"\n{printable_lines(trace)}" if trace else "")


def format_without_colours(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """Return the same line without escapes."""
    return _ESCAPE.sub("", format_for_terminal(logger, method, event))


_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
_GREY, _PLAIN = "\x1b[2m", "\x1b[0m"
_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[1;31m", "critical": "\x1b[1;31m"}
