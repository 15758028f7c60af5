"""Traces of runs at an OpenTelemetry collector: one that answers, one that refuses, and none."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from jobs.run import Failed, Options, Outcome, Record, Result, Run, run_job
from jobs.run.tracing import SEND_TIMEOUT, traces_wanted
from tests.parts.listeners import otlp_collector
from tests.parts.needs import needs
from tests.parts.patience import deadline
from tests.parts.runs import environment, job, store_in

OTEL = needs("package-opentelemetry")


def work(run: Run) -> Result:
    with run.step("dump"):
        pass
    with run.step("upload"):
        if run.subject == "broken":
            raise Failed("cannot connect to postgresql://crew:hunter2@db/shop")
    return Result(Outcome.DONE, "4 GB in 3 s", {"bytes": 4, "set": "x"})


def run_on(subject: str, folder: Path) -> Record:
    (record,) = run_job(job(work, subject), environment(), store_in(folder), Options())
    return record


def spans_of(body: bytes) -> list[Any]:
    """Return the spans of a request."""
    service = import_module("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    request = service.ExportTraceServiceRequest.FromString(body)
    names = {(each.key, each.value.string_value) for each in request.resource_spans[0].resource.attributes}
    assert ("service.name", "groundcrew") in names
    return [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


@OTEL
def test_a_run_is_a_span_with_a_span_for_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        record = run_on("shop", tmp_path)
    ((path, body),) = collector.bodies
    assert path == "/v1/traces"
    dump, upload, root = spans_of(body)
    assert [span.name for span in (dump, upload, root)] == ["dump", "upload", record.job]
    assert dump.parent_span_id == upload.parent_span_id == root.span_id
    assert root.start_time_unix_nano == int(record.started.timestamp()) * 10**9 + record.started.microsecond * 1000
    assert root.start_time_unix_nano <= dump.start_time_unix_nano <= dump.end_time_unix_nano
    found = attributes(root)
    assert found["groundcrew.subject"], found["groundcrew.outcome"] == ("shop", "done")
    assert found["groundcrew.figure.bytes"] == 4
    assert "groundcrew.figure.set" not in found


@OTEL
def test_a_failed_run_is_an_error_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
        run_on("broken", tmp_path)
    ((_, body),) = collector.bodies
    dump, upload, root = spans_of(body)
    assert [span.status.code for span in (dump, upload, root)] == [0, 2, 2]
    assert "cannot connect to postgresql://crew:" in root.status.message
    assert b"hunter2" not in body


@OTEL
def test_a_collector_that_does_not_answer_changes_no_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    began = time.monotonic()
    assert run_on("shop", tmp_path).outcome is Outcome.DONE
    assert time.monotonic() - began < SEND_TIMEOUT + deadline(20)
    shown = capfd.readouterr()
    assert "traces not sent" in shown.out + shown.err
    assert "Traceback" not in shown.out + shown.err


SENDS_NOTHING = """
import sys
from jobs.run.tracing import Traces
traces = Traces([(None, ())])
traces.send()
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


def test_without_a_collector_nothing_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", SENDS_NOTHING], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, marks=OTEL),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True, marks=OTEL),
    ],
)
def test_traces_are_wanted_if_a_collector_is_named(variables: dict[str, str], wanted: bool) -> None:
    assert traces_wanted(variables) is wanted
