"""Render the status page as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inventories import redact
from inventories.printable import printable_lines
from jobs.cost import sentences
from jobs.format import format_duration, format_size, format_time, plural
from jobs.status import charts
from jobs.status.collect import EnvironmentStatus, copy_name
from jobs.status.health import Health, HealthState

MARKS = {
    HealthState.LOST: "✕",
    HealthState.FAILED: "✕",
    HealthState.DIED: "✕",
    HealthState.FINDING: "▲",
    HealthState.TOO_LONG: "▲",
    HealthState.OVERDUE: "▲",
    HealthState.NEVER: "▲",
    HealthState.RUNNING: "▶",
    HealthState.NOT_YET: "○",
    HealthState.GONE: "∅",
    HealthState.OK: "✓",
}
KINDS = {
    HealthState.LOST: "bad",
    HealthState.FAILED: "bad",
    HealthState.DIED: "bad",
    HealthState.RUNNING: "quiet",
    HealthState.NOT_YET: "quiet",
    HealthState.GONE: "quiet",
    HealthState.OK: "good",
}


def render_page(statuses: Sequence[EnvironmentStatus], now: datetime, due: datetime | None = None) -> str:
    """Return one self-contained HTML file without scripts or external resources; `due` is its next update."""
    templates = Environment(
        loader=PackageLoader("jobs.status"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals.update(
        age=lambda time: format_duration(now - time),
        local=lambda time, zone: time_element(time, now, zone),
        when=lambda health, zone: age_or_since(health, now, zone),
        utc=utc_element,
        mark=MARKS.get,
        copy_name=copy_name,
        kind=lambda state: KINDS.get(state, "warn"),
        size=format_size,
        trend=charts.size_trend,
        spending=charts.spending_chart,
        sentences=sentences,
        plural=plural,
    )
    worst_first = sorted(statuses, key=lambda status: (not status.error, -len(status.problems), status.name))
    problems = sum(len(status.problems) + bool(status.error) for status in statuses)
    page = templates.get_template("page.html.j2").render(statuses=worst_first, problems=problems, now=now, due=due)
    return printable_lines(redact(page))


def time_element(time: datetime, now: datetime, zone: tzinfo) -> Markup:
    """Return a time in the environment's timezone as a <time> element."""
    return _time(time, format_time(time, now, zone))


def utc_element(time: datetime) -> Markup:
    """Return a time with its date in UTC as a <time> element."""
    return _time(time, f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def _time(time: datetime, text: str) -> Markup:
    iso = time.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(iso, text)


def age_or_since(health: Health, now: datetime, zone: tzinfo) -> Markup:
    """Return the age of a success, or since when the job has been in another state."""
    if health.since is None:
        return Markup()
    if health.state is HealthState.OK:
        return Markup("{} ago").format(format_duration(now - health.since))
    return Markup("since {} ({})").format(time_element(health.since, now, zone), format_duration(now - health.since))
