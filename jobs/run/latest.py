"""What a subject's lock keeps about its runs: the newest run, and an index by scheduled time. Pure.

The last run that held the lock writes it, so the order is that of the runs, whatever the clocks of their machines say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobs.run.documents import from_iso
from jobs.run.job import Outcome
from jobs.run.stop import STOPPED_BY
from jobs.run.ticks import EARLY

TICKS_KEPT = 5
FIGURES_KEPT = 10
GAPS_KEPT = 10
EVIDENCE_PERIOD = timedelta(days=7)
_COUNTED = {"backup": (Outcome.DONE, Outcome.FINDING), "verify": (Outcome.DONE,)}  # a set that shrank is a backup, too


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
    def stopped(self) -> bool:
        """Whether a signal or its time limit stopped it."""
        return self.outcome is Outcome.FAILED and self.sentence.startswith(STOPPED_BY)

    @property
    def ended_by_signal(self) -> bool:
        """Whether a signal stopped it, and with it all runs of its process."""
        return self.stopped and self.sentence.startswith(f"{STOPPED_BY}SIG")

    @property
    def time(self) -> datetime:
        """The time that it ran for: its tick, or else its start."""
        return self.tick or self.started


@dataclass(frozen=True, slots=True)
class EvidenceGap:
    """The time between two backups, or two passed verifications, and when it ended."""

    ended: datetime
    seconds: float


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
    counted: datetime | None = None
    """The end of the newest run that is evidence: a backup, or a passed verification."""
    gaps: tuple[EvidenceGap, ...] = ()
    """The gaps of a week that are longer than all later ones, the longest first."""

    def with_run(self, run: RunSummary, compared: Mapping[str, object] | None = None, job: str = "") -> SubjectRuns:
        """Return the same after one more run of a job, whose figures in `compared` later runs will need."""
        latest = run.started + EARLY  # later ticks come from a clock that was wrong
        ticks = {tick for tick in (*self.ticks, run.tick) if tick and tick <= latest}
        known = self.of_tick if self.of_tick and self.of_tick.tick in ticks else None
        is_newest = run.tick is not None and (known is None or known.time <= run.tick)
        is_good = run.outcome is Outcome.DONE
        is_counted = bool(compared) and run.outcome in _COUNTED.get(job, ())  # one that found nothing to do is none
        return SubjectRuns(
            last=run,
            of_tick=run if is_newest else known,
            ticks=tuple(sorted(ticks, reverse=True)[:TICKS_KEPT]),
            first=self.first or run.started,
            problem_since=None if is_good else self.problem_since or run.ended,
            succeeded=run.ended if is_good else self.succeeded,
            completed=run.ended if run.complete else self.completed,
            figures=(compared, *self.figures)[:FIGURES_KEPT] if compared else self.figures,
            counted=run.ended if is_counted else self.counted,
            gaps=self._gaps_at(run.ended) if is_counted else self.gaps,
        )

    def _gaps_at(self, at: datetime) -> tuple[EvidenceGap, ...]:
        """Return the gaps that ended in the week before a time, with the one that ends then."""
        newest = EvidenceGap(at, max(0.0, (at - self.counted).total_seconds() if self.counted else 0.0))
        recent = (each for each in self.gaps if abs(at - each.ended) < EVIDENCE_PERIOD)
        return (*(each for each in recent if each.seconds > newest.seconds), newest)[:GAPS_KEPT]

    @property
    def longest_gap(self) -> float | None:
        """The seconds of the longest gap of the week before the last run; None for a job that gives no evidence."""
        return self._gaps_at(self.last.ended)[0].seconds if self.last and self.counted else None

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
        **{name: from_iso(fields.get(name)) for name in ("completed", "counted")},
        gaps=tuple(
            EvidenceGap(datetime.fromisoformat(each["ended"]), each["seconds"]) for each in fields.get("gaps", ())
        ),
    )


def _parse_summary(fields: Mapping[str, Any] | None) -> RunSummary | None:
    if fields is None:
        return None
    times: dict[str, Any] = {name: from_iso(fields[name]) for name in ("started", "ended", "tick")}
    return RunSummary(**{**fields, **times, "outcome": Outcome(fields["outcome"])})
