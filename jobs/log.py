"""Logging: readable on a terminal and JSON elsewhere, on stderr, each line with its run, no secret in any.

Most commands have nothing to log, and structlog takes a tenth of a second to import: it waits for the first line.
"""

from __future__ import annotations

import contextvars
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar, cast

from inventories import redact, redact_all

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

P = ParamSpec("P")
R = TypeVar("R")

LOGGER_NAME = "groundcrew"


def configure(verbose: int = 0) -> None:
    """Send our lines and the libraries' warnings to stderr; -v and -vv say more."""
    _to_do[:] = [partial(_configure_structlog, logging.DEBUG if verbose else logging.INFO)]
    lines = StderrHandler()
    lines.setFormatter(RedactingFormatter())
    root = logging.getLogger()
    root.handlers = [lines]
    root.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    logging.getLogger(LOGGER_NAME).setLevel(logging.DEBUG)
    logging.captureWarnings(capture=True)


_to_do: list[Callable[[], None]] = []
_doing = threading.Lock()


def _configure_structlog(level: int) -> None:
    import structlog

    structlog.configure(
        processors=[structlog.stdlib.add_log_level, *_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def structlog_config() -> dict[str, Any]:
    """How structlog is set up, now that somebody needs it."""
    import structlog

    with _doing:
        while _to_do:
            _to_do.pop()()
    return structlog.get_config()


class RedactingFormatter(logging.Formatter):
    """Our lines and the libraries', in one form, with every secret blanked."""

    @cached_property
    def _by_structlog(self) -> logging.Formatter:
        import structlog

        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name, *_common()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                _rendered(),
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self._by_structlog.format(record)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is now, not to what it was when logging was set up."""

    @property
    def stream(self) -> TextIO:
        """The stderr of this moment."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None: ...


def get() -> FilteringBoundLogger:
    """The logger of the project."""
    import structlog

    structlog_config()
    return cast("FilteringBoundLogger", structlog.get_logger(LOGGER_NAME))


@contextmanager
def log_context(**names: str) -> Iterator[None]:
    """While inside, each line of this thread bears these names (run, job, subject)."""
    import structlog

    with structlog.contextvars.bound_contextvars(**names):
        yield


def with_log_context(call: Callable[P, R]) -> Callable[P, R]:
    """The same call for another thread, whose lines then bear the names that hold here: threads don't inherit them."""
    here = contextvars.copy_context()

    def with_names(*args: P.args, **kwargs: P.kwargs) -> R:
        return here.copy().run(call, *args, **kwargs)

    return with_names


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank every known secret in every value of a line, whatever its type."""
    return {redact(key): redact_all(value) for key, value in event.items()}


def _common() -> list[Processor]:
    """A person wants the time on the clock, a machine the date and UTC."""
    import structlog

    person = sys.stderr.isatty()
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if person else "iso", utc=not person)
    return [structlog.contextvars.merge_contextvars, stamp]


def _rendered() -> Processor:
    if sys.stderr.isatty():
        return format_for_terminal
    import structlog

    return structlog.processors.JSONRenderer()


def format_for_terminal(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """A line as short as it can be: when, what it is about, what happened, and in grey the rest and the run."""
    line = dict(event)
    when, level, what = line.pop("timestamp", ""), line.pop("level", "info"), line.pop("event", "")
    run, trace = line.pop("run", ""), line.pop("exception", "")
    about = " ".join(str(line.pop(name)) for name in ("job", "subject", "logger") if line.get(name))
    line.pop("environment", None)
    rest = " ".join([*(f"{name}={value}" for name, value in line.items()), run])
    loud = "" if level in ("info", "debug") else f"{_COLOURS.get(level, '')}{level}{_PLAIN} "
    words = " ".join(filter(None, (f"{_GREY}{when}{_PLAIN}", about and f"{about}:", f"{loud}{what}")))
    return f"{words} {_GREY}{rest}{_PLAIN}" + (f"\n{trace}" if trace else "")


_GREY, _PLAIN = "\x1b[2m", "\x1b[0m"
_COLOURS = {"warning": "\x1b[33m", "error": "\x1b[1;31m", "critical": "\x1b[1;31m"}
