"""What a job gives the runner, and what the runner gives a job."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
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
    HELD = "held"  # another run holds the lock, so this run did not start; never stored
    DIED = "died"  # it was killed or crashed: another run wrote its record
    RUNNING = "running"  # it has begun; only commands that take no lock store this


class Severity(StrEnum):
    """How bad the news of a message is, worst first, in the words of Apprise."""

    FAILURE = "failure"
    WARNING = "warning"
    SUCCESS = "success"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that is sent once and never repeated, and the keys that mark it as sent."""

    keys: tuple[str, ...] = ()
    title: str = ""
    text: str = ""
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Result:
    """What a job reports: an outcome, one sentence for people, figures for machines (with the unit in each name).

    `about` identifies a finding: a changed `about` is news, a changed sentence is not.
    With a `notice`, even an empty one, findings cause no alerts: the notice is sent instead (see jobs/run/notices.py).
    `details` is for the command that started the run; it is not stored.
    """

    outcome: Outcome
    sentence: str
    figures: Mapping[str, int | float | str] = field(default_factory=dict)
    about: str = ""
    notice: Notice | None = None
    details: object = None


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the command line that concern every job."""

    only: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    scheduled: bool = False
    dry_run: bool = False


class Failed(CrewError):
    """The work failed, and trying again does not help (a bad password, a bad file)."""


class UnknownName(Failed):
    """A name on the command line matches nothing in the files or the store, or a tag or time is malformed."""

    exit_code = ExitCode.WRONG_USAGE


def select_single(subject: str, options: Options, *, configured: bool) -> list[str]:
    """Return the only subject of a job, if the file configures it; UnknownName if --only names another."""
    unknown = [name for name in options.only if name != subject]
    if unknown:
        raise UnknownName(f"--only {unknown[0]}: this job runs for {subject} only; omit --only")
    return [subject] if configured else []


class Transient(CrewError):
    """The work failed for a reason that can pass (network, throttling, a restarting server): the runner retries."""

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
    earlier_figures: Sequence[Mapping[str, object]]
    """The figures in Job.compared of earlier runs, newest first."""
    turn_share: Fraction
    """The share of a turn that this run has, from Job.turn_share: others work in the rest of it."""

    def check(self) -> None:
        """Raise Stopped if the run must stop. Call it in long loops."""
        ...

    def on_stop(self, end: Callable[[], object]) -> AbstractContextManager[None]:
        """Call `end` once, from another thread, if the run is stopped inside this context."""
        ...

    def process(self, argv: Sequence[str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start a program in its own process group. If the run is stopped, the group gets SIGTERM, then SIGKILL."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """Log the start, the end and the duration of a named step of the work."""
        ...

    def wait_for_store(self, failed: int = 0, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the store answers and this run has its lock; `check` can end the wait.

        `failed` says how often the work has failed because the store was out of reach: it determines the first pause.
        """
        ...

    def progress(self, what: str, done: int, total: int | None = None) -> None:
        """Show progress in bytes: a bar on a terminal, else a log line per minute."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A kind of work: data and functions. The runner does the rest."""

    name: str
    subjects: Callable[[Environment, Store, Options], Sequence[str]]
    work: Callable[[Run], Result]
    schedule: Callable[[Environment, str], str | None]
    limit: Callable[[Environment, str], timedelta] = lambda _environment, _subject: timedelta(hours=6)
    lease: Callable[[Environment, str], timedelta] = lambda _environment, _subject: timedelta(seconds=60)
    outlasts: timedelta = timedelta(0)
    """How long its runs can go on while the store is out of reach. What they write must have names of its own, or be
    the same: another run can take the lock over meanwhile."""

    max_parallel: int = 2
    """How many turns its subjects have side by side."""

    turn_share: Callable[[Environment, str, Sequence[Mapping[str, object]]], Fraction] = lambda *_: Fraction(1)
    """Which share of a turn a subject takes. The figures are those in `compared` of earlier runs, newest first; none
    if they are not known."""

    compared: tuple[str, ...] = ()
    """The figures that its runs compare with those of earlier runs."""

    finish: Callable[[Environment, Store, FilteringBoundLogger], None] = lambda _environment, _store, _log: None
    """What it does once after its runs; an error there fails no run."""

    has_subject: Callable[[Environment, str], bool] = lambda _environment, _subject: True
    """Whether the environment file still names a subject of an earlier run; metrics of removed subjects are dropped."""
