"""The Grafana dashboard: the state of all jobs on top, then backups, runs and cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deploys.lib.postgres.pitr_metrics import PREFIX as PITR
from jobs.run.job import Outcome
from jobs.run.metrics import (
    ATTEMPTS,
    CODES,
    DURATION,
    EVIDENCE_GAP,
    FIGURE,
    LAST_RUN,
    LAST_SUCCESS,
    MISSED,
    OUTCOME,
    PERIOD,
)

CHOSEN = 'environment=~"$environment"'
JOB_LEGEND = "{{environment}} {{crew_job}} {{subject}}"
SUBJECT_LEGEND = "{{environment}} {{subject}}"
BACKUP, VERIFY = 'crew_job="backup"', 'crew_job="verify"'
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel: its queries, its type, and its width in columns of 24."""

    title: str
    queries: tuple[tuple[str, str], ...]  # expression and legend
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    mappings: tuple[tuple[int, str, str], ...] = field(default=())  # value, text, colour


def metric_query(metric: str, *labels: str) -> str:
    """Return the query for a metric of the selected environments."""
    return f"{metric}{{{','.join([CHOSEN, *labels])}}}"


def figure_query(job: str, name: str) -> str:
    """Return the query for a figure of a job."""
    return metric_query(FIGURE.name, f'crew_job="{job}"', f'figure="{name}"')


OUTCOMES = (
    (CODES[Outcome.DONE], "done", "green"),
    (CODES[Outcome.FAILED], "failed", "red"),
    (CODES[Outcome.FINDING], "finding", "orange"),
)

PANELS = (
    Panel(
        "Last outcome of each job",
        ((metric_query(OUTCOME.name), JOB_LEGEND),),
        kind="state-timeline",
        width=24,
        mappings=OUTCOMES,
    ),
    Panel(
        "Time since the last run that did not fail", ((f"time() - {metric_query(LAST_SUCCESS.name)}", JOB_LEGEND),), "s"
    ),
    Panel(
        "Backup age in periods (alert above 1.5)",
        (
            (
                f"(time() - {metric_query(LAST_SUCCESS.name, BACKUP)}) / {metric_query(PERIOD.name, BACKUP)}",
                SUBJECT_LEGEND,
            ),
        ),
    ),
    Panel("Stored size of the last backup", ((figure_query("backup", "stored_bytes"), SUBJECT_LEGEND),), "bytes"),
    Panel(
        "Age of the newest set in each copy",
        ((f"time() - {figure_query('copy', 'newest_timestamp_seconds')}", SUBJECT_LEGEND),),
        "s",
    ),
    Panel(
        "Verification age in periods (alert above 1.5)",
        (
            (
                f"(time() - {metric_query(LAST_SUCCESS.name, VERIFY)}) / {metric_query(PERIOD.name, VERIFY)}",
                SUBJECT_LEGEND,
            ),
        ),
    ),
    Panel(
        "Evidence: longest gap of a week in periods (alert above 1.5)",
        ((f"{metric_query(EVIDENCE_GAP.name)} / {metric_query(PERIOD.name)}", JOB_LEGEND),),
    ),
    Panel(
        "Sets in each copy, and those that could not be copied",
        (
            (figure_query("copy", "sets"), f"{SUBJECT_LEGEND} sets"),
            (figure_query("copy", "damaged_sets"), f"{SUBJECT_LEGEND} not copied"),
        ),
    ),
    Panel(
        "Recovery time: duration of the last restore by a verification",
        ((figure_query("verify", "seconds"), SUBJECT_LEGEND),),
        "s",
    ),
    Panel(
        "Point-in-time recovery: time and recovery point of the last verification",
        (
            (figure_query("verify", "recovery_seconds"), f"{SUBJECT_LEGEND} recovery time"),
            (figure_query("verify", "recovery_point_seconds"), f"{SUBJECT_LEGEND} recovery point"),
        ),
        "s",
        width=8,
    ),
    Panel(
        "Point-in-time recovery: time that WAL waits for the archive (alert above 5 min)",
        ((f"{PITR}_archive_lag_seconds", "{{instance}}"),),
        "s",
        width=8,
    ),
    Panel(
        "Point-in-time recovery: age of the newest backup in each repository",
        (
            (
                f"time() - max by (instance, repository) ({PITR}_last_backup_timestamp_seconds)",
                "{{instance}} {{repository}}",
            ),
        ),
        "s",
        width=8,
    ),
    Panel(
        "Drift of stacks and hosts",
        ((metric_query(OUTCOME.name, 'crew_job=~"drift|hosts"'), JOB_LEGEND),),
        kind="state-timeline",
        mappings=OUTCOMES,
    ),
    Panel("Run duration", ((metric_query(DURATION.name), JOB_LEGEND),), "s"),
    Panel(
        "Spending and forecast against the budget",
        (
            (figure_query("cost", "spent_percent"), "{{environment}} spent"),
            (figure_query("cost", "forecast_percent"), "{{environment}} forecast"),
        ),
        "percent",
    ),
    Panel("Elapsed part of the month", ((figure_query("cost", "month_gone_percent"), "{{environment}}"),), "percent"),
    Panel("Runs with more than one attempt", ((f"{metric_query(ATTEMPTS.name)} > 1", JOB_LEGEND),), width=8),
    Panel("Missed scheduled times", ((metric_query(MISSED.name), JOB_LEGEND),), width=8),
    Panel(
        "Time since any run",
        ((f"time() - max by (environment) ({metric_query(LAST_RUN.name)})", "{{environment}}"),),
        "s",
        width=8,
    ),
)


def dashboard(panels: Iterable[Panel] = PANELS) -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "title": "groundcrew",
        "uid": "groundcrew",
        "tags": ["groundcrew"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-7d", "to": "now"},
        "templating": {"list": [_source(), _environments()]},
        "panels": list(_placed(panels)),
    }


def dashboard_json() -> str:
    """Return the dashboard as JSON text."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _environments() -> dict[str, Any]:
    """Return the variable that selects environments (default: all)."""
    return {
        "name": "environment",
        "label": "Environment",
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": f"label_values({LAST_RUN.name}, environment)",
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _placed(panels: Iterable[Panel], height: int = 8) -> Iterator[dict[str, Any]]:
    """Yield the panels with positions, left to right and top to bottom."""
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + height
        yield _panel_json(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
        x += panel.width


def _panel_json(panel: Panel, number: int, position: dict[str, int]) -> dict[str, Any]:
    mappings = {str(value): {"text": text, "color": colour} for value, text, colour in panel.mappings}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "gridPos": position,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "mappings": [{"type": "value", "options": mappings}] if mappings else []},
            "overrides": [],
        },
    }
