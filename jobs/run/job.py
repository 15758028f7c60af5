"""What a job is to the runner, and what the runner is to a job."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from inventories import CrewError, ExitCode

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from inventories import Environment
    from jobs.store import Store


class Outcome(StrEnum):
    """How a run ended."""

    DONE = "done"
    FINDING = "finding"
    FAILED = "failed"
    HELD = "held"  # not run at all, because another run holds the lock; never stored


@dataclass(frozen=True, slots=True)
class Notice:
    """What people are told once and never reminded of: the keys by which it stays known, and the message."""

    keys: tuple[str, ...] = ()
    title: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What a job says of itself: an outcome, one sentence for people, figures for machines (units in the names).

    `about` tells one finding from another: a finding about something else is news, the same in other words is not.
    A job that gives `tidings`, empty ones too, has its findings told by these instead (see jobs/run/notices.py).
    """

    outcome: Outcome
    sentence: str
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    about: str = ""
    tidings: Notice | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    only: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scheduled: bool = False
    dry_run: bool = False


class Failed(CrewError):
    """The work failed for good: trying again would not help (a bad password, a bad file)."""


class UnknownName(Failed):
    """What was typed can't be meant: a name that is in no file and no store, a tag or a time that is none."""

    exit_code = ExitCode.WRONG_USAGE


class Transient(CrewError):
    """The work failed by something that may pass (network, throttling, a server restarting): the runner tries again."""

    retryable = True


class Run(Protocol):
    """One run of one job on one subject, as the job's work sees it."""

    id: str
    environment: Environment
    store: Store
    job: str
    subject: str
    tick: datetime | None
    started: datetime
    options: Options
    log: FilteringBoundLogger

    def check(self) -> None:
        """Raise Stopped if the run was told to end. Long loops call it."""
        ...

    def on_stop(self, end: Callable[[], object]) -> AbstractContextManager[None]:
        """While inside, `end` is called (once, from another thread) when the run is told to end."""
        ...

    def process(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start a program in a process group of its own, which is ended with the run: SIGTERM, later SIGKILL."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """A named piece of the work: its begin, end and duration are logged."""
        ...

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """Tell how far it is, in bytes: a bar on a terminal, else a log line a minute."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of work. Pure data and functions: the runner does the rest."""

    name: str
    subjects: Callable[[Environment, Options], Sequence[str]]
    work: Callable[[Run], Result]
    schedule: Callable[[Environment, str], str | None]
    limit: Callable[[Environment, str], timedelta] = lambda _environment, _subject: timedelta(hours=6)
    lease: Callable[[Environment, str], timedelta] = lambda _environment, _subject: timedelta(seconds=60)
    side_by_side: int = 2
    knows: Callable[[Environment, str], bool] = lambda _environment, _subject: True
    """Whether the environment still has a subject that had a run once."""
