"""Metrics of runs in a textfile for node_exporter, merged with the metrics of other runs."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from inventories import Environment
from inventories.printable import printable
from jobs.run.job import Outcome
from jobs.run.latest import NO_RUNS, SubjectRuns
from jobs.run.record import Record
from jobs.run.ticks import period

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of stable name, for alert rules and dashboards. Its labels are environment, crew_job and subject.

    The label is not `job`, because Prometheus uses that label itself and would rename ours.
    """

    name: str
    help: str


LAST_RUN = Metric("groundcrew_last_run_timestamp_seconds", "End of the last run.")
LAST_SUCCESS = Metric("groundcrew_last_success_timestamp_seconds", "End of the last run that did not fail.")
DURATION = Metric("groundcrew_last_run_duration_seconds", "Duration of the last run.")
OUTCOME = Metric("groundcrew_last_run_outcome", "Outcome of the last run: 0 done, 1 failed, 2 a finding.")
ATTEMPTS = Metric("groundcrew_last_run_attempts", "Number of attempts of the last run.")
MISSED = Metric("groundcrew_last_run_missed_ticks", "Number of scheduled times without a run before the last run.")
FIGURE = Metric("groundcrew_last_run_figure", "A number of the last run; the label figure holds its name and unit.")
PERIOD = Metric("groundcrew_period_seconds", "Time between two scheduled times; only for scheduled jobs.")
EVIDENCE_GAP = Metric(
    "groundcrew_evidence_gap_seconds",
    "Longest time between two backups, or two passed verifications, that ended in the week before the last run.",
)
METRICS = (LAST_RUN, LAST_SUCCESS, DURATION, OUTCOME, ATTEMPTS, MISSED, PERIOD, EVIDENCE_GAP, FIGURE)
_KEPT = (LAST_SUCCESS.name, EVIDENCE_GAP.name)  # without a newer value

CODES = {Outcome.DONE: 0, Outcome.FAILED: 1, Outcome.DIED: 1, Outcome.FINDING: 2}


def samples_of(record: Record, to_next_tick: timedelta | None = None, runs: SubjectRuns = NO_RUNS) -> Samples:
    """Return the samples of one run; `runs` is what its lock keeps about it and the runs before."""
    labels = {"environment": record.environment, "crew_job": record.job, "subject": printable(record.subject)}
    ended = record.ended.timestamp()
    values = {
        LAST_RUN: ended,
        DURATION: record.duration.total_seconds(),
        OUTCOME: CODES[record.outcome],
        ATTEMPTS: record.attempts,
        MISSED: record.missed.ticks if record.missed else 0,
    }
    values |= {LAST_SUCCESS: runs.completed.timestamp()} if runs.completed else {}
    values |= {LAST_SUCCESS: ended} if record.summary.complete else {}
    values |= {PERIOD: to_next_tick.total_seconds()} if to_next_tick else {}
    values |= {EVIDENCE_GAP: runs.longest_gap} if runs.longest_gap is not None else {}
    samples = {(metric.name, _labels(labels)): float(value) for metric, value in values.items()}
    figures = {printable(name): value for name, value in record.figures.items() if isinstance(value, int | float)}
    return samples | {(FIGURE.name, _labels({**labels, "figure": name})): float(v) for name, v in figures.items()}


def merged(old: Samples, new: Samples) -> Samples:
    """Replace the old samples of the same subjects. The last success and the gap stay until there is a later value."""
    replaced = {_of(labels) for _, labels in new}
    kept = {key: v for key, v in old.items() if _of(key[1]) not in replaced or key[0] in _KEPT}
    return {**kept, **new}


def without_removed_subjects(
    samples: Samples, environment: str, job: str, has_subject: Callable[[str], bool]
) -> Samples:
    """Drop subjects that the environment file no longer names, because they would be reported as overdue forever."""

    def stays(labels: Mapping[str, str]) -> bool:
        return (labels["environment"], labels["crew_job"]) != (environment, job) or has_subject(labels["subject"])

    return {key: value for key, value in samples.items() if stays(dict(key[1]))}


def write(
    record: Record,
    environment: Environment,
    line: str | None = None,
    has_subject: Callable[[str], bool] = lambda _subject: True,
    runs: SubjectRuns = NO_RUNS,
) -> None:
    """Write a run's samples to the environment's textfile, if it has one; `line` is the job's cron line."""
    if environment.metrics.textfile:
        textfile = environment.metrics.textfile
        to_next_tick = period(line, environment.timezone, record.started) if line else None
        with _locked(textfile):
            old = without_removed_subjects(from_text(_read(textfile)), record.environment, record.job, has_subject)
            _replace(textfile, to_text(merged(old, samples_of(record, to_next_tick, runs))))


def to_text(samples: Samples) -> str:
    """Return samples in Prometheus' text format."""
    from prometheus_client import generate_latest

    return generate_latest(collected(samples)).decode()


def collected(samples: Samples) -> CollectorRegistry:
    """Return samples as prometheus-client takes them."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import GaugeMetricFamily

    class Collector:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for metric in METRICS:
                family = GaugeMetricFamily(metric.name, metric.help)
                for (name, labels), value in sorted(samples.items()):
                    if name == metric.name:
                        family.add_sample(name, dict(labels), value)
                yield family

    registry = CollectorRegistry()
    registry.register(Collector())
    return registry


def from_text(text: str) -> Samples:
    """Parse Prometheus' text format."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(text)
    return {(s.name, _labels(s.labels)): float(s.value) for family in families for s in family.samples}


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _of(labels: Labels) -> Labels:
    return tuple((name, value) for name, value in labels if name != "figure")


@contextmanager
def _locked(textfile: Path) -> Iterator[None]:
    with textfile.with_name(f".{textfile.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(textfile: Path) -> str:
    return textfile.read_text() if textfile.exists() else ""


def _replace(textfile: Path, text: str) -> None:
    """Replace the file at once, readable by all: node_exporter can run as another user."""
    descriptor, name = tempfile.mkstemp(dir=textfile.parent, prefix=f".{textfile.name}.")
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o644)
        file.write(text)
    Path(name).replace(textfile)
