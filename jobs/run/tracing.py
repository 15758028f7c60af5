"""Sends a trace of each run to an OpenTelemetry collector: a span for the run, and one for each of its steps."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import Any

from inventories import CrewError
from jobs.run.job import Outcome
from jobs.run.record import Record

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SEND_TIMEOUT = 3.0
"""Seconds. A collector that does not answer delays the end of a command by no more."""


class NotSent(CrewError):
    """A collector did not take the traces."""


@dataclass(frozen=True, slots=True)
class StepTiming:
    """A step of a run that ended."""

    name: str
    started: datetime
    ended: datetime
    failed: bool


def traces_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a collector is named and OpenTelemetry is installed."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return False
    with suppress(ModuleNotFoundError):  # a parent package is missing
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    return False


def run_attributes(record: Record) -> dict[str, str | int | float]:
    """Return the attributes of the span of a run; its sentence has no secrets, as in the record."""
    figures = {f"groundcrew.figure.{name}": value for name, value in record.figures.items() if _is_number(value)}
    return {
        "groundcrew.environment": record.environment,
        "groundcrew.job": record.job,
        "groundcrew.subject": record.subject,
        "groundcrew.run": record.run,
        "groundcrew.outcome": record.outcome.value,
        "groundcrew.sentence": record.sentence,
        "groundcrew.attempts": record.attempts,
        **figures,
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass
class Traces:
    """The runs of one command, sent together at its end."""

    _runs: list[tuple[Record, Sequence[StepTiming]]] = field(default_factory=list)

    def add(self, record: Record, steps: Sequence[StepTiming]) -> None:
        """Keep a run until send()."""
        self._runs.append((record, steps))

    def send(self) -> None:
        """Send what was kept, if a collector wants it; NotSent if it does not take it."""
        runs, self._runs = self._runs, []
        if not runs or not traces_wanted():
            return
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # the caller logs a failure in one line
        exporter: SpanExporter = OTLPSpanExporter(timeout=SEND_TIMEOUT)
        try:
            if exporter.export(_spans(runs)) is not SpanExportResult.SUCCESS:
                raise NotSent("the collector of OTEL_EXPORTER_OTLP_ENDPOINT did not take the traces")
        finally:
            exporter.shutdown()


def _spans(runs: Sequence[tuple[Record, Sequence[StepTiming]]]) -> Sequence[Any]:
    """Return the spans of runs that ended."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from opentelemetry.trace import Status, StatusCode, set_span_in_context

    memory = InMemorySpanExporter()
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or "groundcrew"})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("groundcrew")
    for record, steps in runs:
        root = tracer.start_span(record.job, attributes=run_attributes(record), start_time=_nanoseconds(record.started))
        if record.outcome in (Outcome.FAILED, Outcome.DIED):
            root.set_status(Status(StatusCode.ERROR, record.sentence))
        for step in steps:
            span = tracer.start_span(step.name, set_span_in_context(root), start_time=_nanoseconds(step.started))
            if step.failed:
                span.set_status(Status(StatusCode.ERROR))
            span.end(_nanoseconds(step.ended))
        root.end(_nanoseconds(record.ended))
    finished: Sequence[Any] = memory.get_finished_spans()
    return finished


def _nanoseconds(time: datetime) -> int:
    return (time - datetime.fromtimestamp(0, time.tzinfo)) // timedelta(microseconds=1) * 1000
