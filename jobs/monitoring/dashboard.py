"""What Grafana shows: the state of everything on top, then backups, drift and cost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from jobs.run.job import Outcome
from jobs.run.metrics import ATTEMPTS, CODES, DURATION, FIGURE, LAST_RUN, LAST_SUCCESS, MISSED, OUTCOME, PERIOD

CHOSEN = 'environment=~"$environment"'
JOB_LEGEND = "{{environment}} {{crew_job}} {{subject}}"
SUBJECT_LEGEND = "{{environment}} {{subject}}"
BACKUP = 'crew_job="backup"'
WIDTH = 24


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture: what it asks, how it is drawn, how wide it is of 24."""

    title: str
    queries: tuple[tuple[str, str], ...]  # expression and legend
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 12
    mappings: tuple[tuple[int, str, str], ...] = field(default=())  # value, words, colour


def metric_query(metric: str, *labels: str) -> str:
    """A metric of the environments that are chosen."""
    return f"{metric}{{{','.join([CHOSEN, *labels])}}}"


def figure_query(job: str, name: str) -> str:
    """What runs of a job counted."""
    return metric_query(FIGURE.name, f'crew_job="{job}"', f'figure="{name}"')


OUTCOMES = (
    (CODES[Outcome.DONE], "done", "green"),
    (CODES[Outcome.FAILED], "failed", "red"),
    (CODES[Outcome.FINDING], "finding", "orange"),
)

PANELS = (
    Panel(
        "How everything ended last",
        ((metric_query(OUTCOME.name), JOB_LEGEND),),
        kind="state-timeline",
        width=24,
        mappings=OUTCOMES,
    ),
    Panel("Since the last run that did not fail", ((f"time() - {metric_query(LAST_SUCCESS.name)}", JOB_LEGEND),), "s"),
    Panel(
        "Periods since the last backup; 1.5 is too many",
        (
            (
                f"(time() - {metric_query(LAST_SUCCESS.name, BACKUP)}) / {metric_query(PERIOD.name, BACKUP)}",
                SUBJECT_LEGEND,
            ),
        ),
    ),
    Panel("Stored by the last backup", ((figure_query("backup", "stored_bytes"), SUBJECT_LEGEND),), "bytes"),
    Panel("How long runs took", ((metric_query(DURATION.name), JOB_LEGEND),), "s"),
    Panel(
        "Spent and forecast, of the budget",
        (
            (figure_query("cost", "spent_percent"), "{{environment}} spent"),
            (figure_query("cost", "forecast_percent"), "{{environment}} forecast"),
        ),
        "percent",
    ),
    Panel(
        "How much of the month is gone", ((figure_query("cost", "month_gone_percent"), "{{environment}}"),), "percent"
    ),
    Panel("Begun more than once", ((f"{metric_query(ATTEMPTS.name)} > 1", JOB_LEGEND),), width=8),
    Panel("Ticks that nobody ran", ((metric_query(MISSED.name), JOB_LEGEND),), width=8),
    Panel(
        "Since anything ran",
        ((f"time() - max by (environment) ({metric_query(LAST_RUN.name)})", "{{environment}}"),),
        "s",
        width=8,
    ),
)


def dashboard(panels: Iterable[Panel] = PANELS) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
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
    """As it is stored."""
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _environments() -> dict[str, Any]:
    """The environments that there are; all of them at first."""
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
    """From left to right, then down."""
    x = y = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > WIDTH:
            x, y = 0, y + height
        yield _drawn(panel, number, {"x": x, "y": y, "w": panel.width, "h": height})
        x += panel.width


def _drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    words = {str(value): {"text": text, "color": colour} for value, text, colour in panel.mappings}
    return {
        "id": number,
        "title": panel.title,
        "type": panel.kind,
        "gridPos": place,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "mappings": [{"type": "value", "options": words}] if words else []},
            "overrides": [],
        },
    }
