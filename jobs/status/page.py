"""The page as HTML: what was seen, put into words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inventories import redact
from jobs.cost import sentences as cost_words
from jobs.format import format_duration, format_size, format_time
from jobs.status import charts
from jobs.status.collect import EnvironmentStatus
from jobs.status.health import Health, HealthState

MARKS = {
    HealthState.FAILED: "✕",
    HealthState.DIED: "✕",
    HealthState.FINDING: "▲",
    HealthState.LATE: "▲",
    HealthState.NEVER: "▲",
    HealthState.RUNNING: "▶",
    HealthState.NOT_YET: "○",
    HealthState.OK: "✓",
}
KINDS = {
    HealthState.FAILED: "bad",
    HealthState.DIED: "bad",
    HealthState.RUNNING: "quiet",
    HealthState.NOT_YET: "quiet",
    HealthState.OK: "good",
}


def render_page(seen: Sequence[EnvironmentStatus], now: datetime, due: datetime | None = None) -> str:
    """One self-contained file: no script, nothing from elsewhere. `due` is when the next one is to be written."""
    templates = Environment(
        loader=PackageLoader("jobs.status"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals.update(
        age=lambda at: format_duration(now - at),
        moment=lambda at, zone: time_element(at, now, zone),
        when=lambda one, zone: age_or_since(one, now, zone),
        exactly=utc_element,
        mark=MARKS.get,
        kind=lambda state: KINDS.get(state, "warn"),
        size=format_size,
        trend=charts.size_trend,
        spending=charts.spending_chart,
        money=cost_words,
    )
    worst_first = sorted(seen, key=lambda one: (not one.error, -len(one.wrong), one.name))
    wrong = sum(len(one.wrong) + bool(one.error) for one in seen)
    return redact(templates.get_template("page.html.j2").render(seen=worst_first, wrong=wrong, now=now, due=due))


def time_element(at: datetime, now: datetime, zone: tzinfo) -> Markup:
    """A moment in the environment's time, and exactly for machines."""
    return _time(at, format_time(at, now, zone))


def utc_element(at: datetime) -> Markup:
    """A moment for whoever reads this another day."""
    return _time(at, f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def _time(at: datetime, said: str) -> Markup:
    iso = at.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{}">{}</time>').format(iso, said)


def age_or_since(one: Health, now: datetime, zone: tzinfo) -> Markup:
    """How old good news is, and since when the others are so."""
    if one.since is None:
        return Markup()
    if one.state is HealthState.OK:
        return Markup("{} ago").format(format_duration(now - one.since))
    before = "before " if one.since_before else ""
    return Markup("since {}{} ({})").format(
        before, time_element(one.since, now, zone), format_duration(now - one.since)
    )
