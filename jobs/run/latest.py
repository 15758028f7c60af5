"""What a subject's lock keeps about its runs: the newest run, and an index by scheduled time. Pure.

The last run that held the lock writes it, so the order is that of the runs, whatever the clocks of their machines say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.run.documents import from_iso
from jobs.run.job import Outcome
from jobs.run.ticks import EARLY

TICKS_KEPT = 5
FIGURES_KEPT = 10


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run that ended: what health, schedules and retries need of its record."""

    run: str
    started: datetime
    ended: datetime
    outcome: Outcome
    sentence: str
    attempts: int = 1
    tick: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether its tick needs no further run."""
        return self.outcome in (Outcome.DONE, Outcome.FINDING)

    @property
    def time(self) -> datetime:
        """The time that it ran for: its tick, or else its start."""
        return self.tick or self.started


@dataclass(frozen=True, slots=True)
class SubjectRuns:
    """The newest run of a subject, the newest run of its newest tick, and the newest ticks that have a record."""

    last: RunSummary | None = None
    of_tick: RunSummary | None = None
    ticks: tuple[datetime, ...] = ()
    first: datetime | None = None
    problem_since: datetime | None = None
    succeeded: datetime | None = None
    completed: datetime | None = None
    """The end of the newest run that did not fail."""
    figures: tuple[Mapping[str, object], ...] = ()
    """What its job compares with earlier runs, newest first."""

    def with_run(self, run: RunSummary, compared: Mapping[str, object] | None = None) -> SubjectRuns:
        """Return the same after one more run, whose figures in `compared` later runs will need."""
        latest = run.started + EARLY  # later ticks come from a clock that was wrong
        ticks = {tick for tick in (*self.ticks, run.tick) if tick and tick <= latest}
        known = self.of_tick if self.of_tick and self.of_tick.tick in ticks else None
        is_newest = run.tick is not None and (known is None or known.time <= run.tick)
        is_good = run.outcome is Outcome.DONE
        return SubjectRuns(
            last=run,
            of_tick=run if is_newest else known,
            ticks=tuple(sorted(ticks, reverse=True)[:TICKS_KEPT]),
            first=self.first or run.started,
            problem_since=None if is_good else self.problem_since or run.ended,
            succeeded=run.ended if is_good else self.succeeded,
            completed=run.ended if run.complete else self.completed,
            figures=(compared, *self.figures)[:FIGURES_KEPT] if compared else self.figures,
        )

    def earlier_try(self, tick: datetime) -> RunSummary | None:
        """Return the newest run of the same tick."""
        return self.of_tick if self.of_tick and self.of_tick.tick == tick else None

    def tick_before(self, tick: datetime) -> datetime | None:
        """Return the newest earlier tick that has a record of any outcome."""
        return next((each for each in self.ticks if each < tick), None)

    @property
    def times(self) -> tuple[datetime, ...]:
        """The ticks or start times of its newest runs."""
        return (*self.ticks, self.last.time) if self.last else self.ticks


NO_RUNS = SubjectRuns()


def parse_subject_runs(fields: Mapping[str, Any]) -> SubjectRuns:
    """Return what the document of a lock keeps about its subject's runs."""
    return SubjectRuns(
        last=_parse_summary(fields["last"]),
        of_tick=_parse_summary(fields["of_tick"]),
        ticks=tuple(datetime.fromisoformat(tick) for tick in fields["ticks"]),
        figures=tuple(fields["figures"]),
        **{name: from_iso(fields[name]) for name in ("first", "problem_since", "succeeded")},
        completed=from_iso(fields.get("completed")),
    )


def _parse_summary(fields: Mapping[str, Any] | None) -> RunSummary | None:
    if fields is None:
        return None
    times: dict[str, Any] = {name: from_iso(fields[name]) for name in ("started", "ended", "tick")}
    return RunSummary(**{**fields, **times, "outcome": Outcome(fields["outcome"])})
