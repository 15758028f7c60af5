"""Render the status page as HTML."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from inventories import redact
from inventories.printable import printable_lines
from jobs.cost import sentences
from jobs.format import and_more, format_duration, format_size, format_time, plural
from jobs.status import charts
from jobs.status.collect import DatabaseStatus, EnvironmentStatus, copy_name
from jobs.status.days import MarkedDays, describe_days, last_days, marked_days, marks
from jobs.status.health import Health, HealthState, sentence_of_problem, severity_rank
from jobs.status.history import DAYS
from jobs.status.outline import (
    job_groups,
    last_verifications,
    names_in,
    problem_groups,
    sentence_that_matters,
    title_of,
)

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
PROBLEM_DAYS = 8  # so many are listed below a strip
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
    zones = {status.zone for status in statuses if status.health or status.databases}
    templates = Environment(
        loader=PackageLoader("jobs.status"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    templates.globals.update(
        age=lambda time: format_duration(now - time),
        local=lambda time, zone: time_element(time, now, zone),
        when=lambda health, zone: age_or_since(health, now, zone),
        as_of=lambda time: as_of(time, zones),
        mark=MARKS.get,
        copy_name=copy_name,
        kind=lambda state: KINDS.get(state, "warn"),
        size=format_size,
        duration=format_duration,
        seconds=lambda number: format_duration(timedelta(seconds=number)),
        money=sentences.format_money,
        change=sentences.format_change,
        spending=charts.spending_chart,
        lane=charts.lane,
        row=lambda database, zone: database_row(database, now.astimezone(zone).date()),
        matters=lambda status: sentence_that_matters(status, now),
        verifications=lambda status: last_verifications(status.databases, now),
        groups=job_groups,
        problem_groups=problem_groups,
        and_more=and_more,
        names_in=names_in,
        title_of=title_of,
        many_zones=len(zones) > 1,
        why=sentence_of_problem,
        problems_first=lambda databases: sorted(databases, key=lambda database: severity_rank(database.problem)),
        hours=lambda zone: [f"{now.astimezone(zone) + timedelta(hours=hours):%H:%M}" for hours in (0, 6, 12, 18, 24)],
        sentences=sentences,
        plural=plural,
    )
    in_order = sorted(statuses, key=lambda status: (not status.error, -len(status.problems), status.name))
    problems = sum(len(status.problems) + bool(status.error) for status in statuses)
    page = templates.get_template("page.html.j2").render(statuses=in_order, problems=problems, now=now, due=due)
    return printable_lines(redact(page))


@dataclass(frozen=True, slots=True)
class DatabaseRow:
    """The charts of one database, and the days with a problem below its strip."""

    strip: Markup
    sizes: Markup
    durations: Markup
    top_size: int
    top_seconds: float
    last_seconds: float | None
    problem_days: tuple[MarkedDays, ...]


def database_row(database: DatabaseStatus, today: date) -> DatabaseRow:
    """Return the charts of one database."""
    of_days = marks(database.days, database.due, today)
    shown = list(marked_days(database.days, of_days, today))
    runs = [database.days.get(day) for day in last_days(today)]
    sizes = [each.stored_bytes if each and each.run and each.stored_bytes else None for each in runs]
    seconds = [each.seconds if each and each.run and each.seconds else None for each in runs]
    top_size, top_seconds = max(filter(None, sizes), default=0), max(filter(None, seconds), default=0.0)
    top_duration = format_duration(timedelta(seconds=top_seconds))
    return DatabaseRow(
        charts.day_strip(shown, describe_days(of_days)),
        charts.day_chart(sizes, f"Size of the backups of {DAYS} days: from zero to {format_size(top_size)}"),
        charts.day_chart(seconds, f"Duration of the backups of {DAYS} days: from zero to {top_duration}"),
        top_size,
        top_seconds,
        next((each for each in reversed(seconds) if each), None),
        tuple(each for each in reversed(shown) if each.mark.is_problem)[:PROBLEM_DAYS],
    )


def time_element(time: datetime, now: datetime, zone: tzinfo) -> Markup:
    """Return a time in the environment's timezone as a <time> element."""
    return _time(time, format_time(time, now, zone))


def as_of(time: datetime, zones: Collection[tzinfo]) -> Markup:
    """Return a time with its date as a <time> element: in the timezone of all environments, or else in UTC."""
    zone = next(iter(zones)) if len(zones) == 1 else UTC
    return _time(time, f"{time.astimezone(zone):%Y-%m-%d %H:%M} ({zone})")


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
