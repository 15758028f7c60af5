"""A textfile for node_exporter, merged with what other runs wrote there."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from inventories import Environment
from jobs.run.job import Outcome
from jobs.run.record import Record
from jobs.run.ticks import period

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """One name that rules and dashboards can rely on. All bear the labels environment, crew_job and subject.

    Not job: that label is Prometheus' own, and it would rename ours.
    """

    name: str
    help: str


LAST_RUN = Metric("groundcrew_last_run_timestamp_seconds", "When the last run ended.")
LAST_SUCCESS = Metric("groundcrew_last_success_timestamp_seconds", "When the last run that did not fail ended.")
DURATION = Metric("groundcrew_last_run_duration_seconds", "How long the last run took.")
OUTCOME = Metric("groundcrew_last_run_outcome", "How the last run ended: 0 done, 1 failed, 2 a finding.")
ATTEMPTS = Metric("groundcrew_last_run_attempts", "How often the last run's work was begun.")
MISSED = Metric("groundcrew_last_run_missed_ticks", "How many ticks before the last run nobody had run.")
FIGURE = Metric("groundcrew_last_run_figure", "What the last run counted, by the label figure, its unit in the name.")
PERIOD = Metric("groundcrew_period_seconds", "How far the last run's tick is from the next one; only on a schedule.")
METRICS = (LAST_RUN, LAST_SUCCESS, DURATION, OUTCOME, ATTEMPTS, MISSED, PERIOD, FIGURE)

CODES = {Outcome.DONE: 0, Outcome.FAILED: 1, Outcome.FINDING: 2}


def samples_of(record: Record, apart: timedelta | None = None) -> Samples:
    """What one run adds; `apart` is how far its tick is from the next one."""
    labels = {"environment": record.environment, "crew_job": record.job, "subject": record.subject}
    ended = record.ended.timestamp()
    values = {
        LAST_RUN: ended,
        DURATION: record.duration.total_seconds(),
        OUTCOME: CODES[record.outcome],
        ATTEMPTS: record.attempts,
        MISSED: record.missed.ticks if record.missed else 0,
    } | ({LAST_SUCCESS: ended} if record.complete else {})
    values |= {PERIOD: apart.total_seconds()} if apart else {}
    samples = {(metric.name, _labels(labels)): float(value) for metric, value in values.items()}
    figures = {name: value for name, value in record.figures.items() if isinstance(value, int | float)}
    return samples | {(FIGURE.name, _labels({**labels, "figure": name})): float(v) for name, v in figures.items()}


def merged(old: Samples, new: Samples) -> Samples:
    """The new samples in place of the old ones of the same job; its last success stays until there is a later one."""
    whose = {_of(labels) for _, labels in new}
    kept = {key: v for key, v in old.items() if _of(key[1]) not in whose or key[0] == LAST_SUCCESS.name}
    return {**kept, **new}


def without_removed_subjects(samples: Samples, environment: str, job: str, knows: Callable[[str], bool]) -> Samples:
    """Less a job's subjects that the environment's file no longer names: they would be called late for ever."""

    def stays(labels: Mapping[str, str]) -> bool:
        return (labels["environment"], labels["crew_job"]) != (environment, job) or knows(labels["subject"])

    return {key: value for key, value in samples.items() if stays(dict(key[1]))}


def write(
    record: Record,
    environment: Environment,
    line: str | None = None,
    knows: Callable[[str], bool] = lambda _subject: True,
) -> None:
    """Put a run's figures into the textfile, if the environment names one; `line` is the cron line it is on."""
    if environment.metrics.textfile:
        textfile = environment.metrics.textfile
        apart = period(line, environment.timezone, record.started) if line else None
        with _alone_with(textfile):
            old = without_removed_subjects(from_text(_read(textfile)), record.environment, record.job, knows)
            _replace(textfile, to_text(merged(old, samples_of(record, apart))))


def to_text(samples: Samples) -> str:
    """Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily

    class Ours:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            for metric in METRICS:
                family = GaugeMetricFamily(metric.name, metric.help)
                for (name, labels), value in sorted(samples.items()):
                    if name == metric.name:
                        family.add_sample(name, dict(labels), value)
                yield family

    registry = CollectorRegistry()
    registry.register(Ours())
    return generate_latest(registry).decode()


def from_text(text: str) -> Samples:
    """What is in a textfile already."""
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(text)
    return {(s.name, _labels(s.labels)): float(s.value) for family in families for s in family.samples}


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


def _of(labels: Labels) -> Labels:
    return tuple((name, value) for name, value in labels if name != "figure")


@contextmanager
def _alone_with(textfile: Path) -> Iterator[None]:
    with textfile.with_name(f".{textfile.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(textfile: Path) -> str:
    return textfile.read_text() if textfile.exists() else ""


def _replace(textfile: Path, text: str) -> None:
    """The collector reads either the old file or the new one, and may do so as another user."""
    descriptor, name = tempfile.mkstemp(dir=textfile.parent, prefix=f".{textfile.name}.")
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o644)
        file.write(text)
    Path(name).replace(textfile)
