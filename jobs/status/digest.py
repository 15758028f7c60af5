"""The job `digest`: a regular report by the alert addresses. People who miss it know that nothing runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from inventories import Environment
from jobs.backup import find_sets
from jobs.cost import sentences
from jobs.format import and_more, format_size, format_time, plural
from jobs.run.job import Job, Notice, Options, Outcome, Result, Run, Severity, select_single
from jobs.status.collect import DatabaseStatus, EnvironmentStatus, environment_status
from jobs.store import Store

SUBJECT = "report"
REPORTED_DAYS = 7
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class WeekOfBackups:
    """What ran on all databases in the last days."""

    databases: int
    backups: int
    failed_backups: int
    verified: int
    not_verified: tuple[str, ...]


def work(run: Run) -> Result:
    """Send the report, once a day at most."""
    environment, now = run.environment, run.started
    status = environment_status(environment, run.store, now)
    stored = sum(each.size for each in find_sets(run.store, environment) if each.complete)
    week = week_of_backups(status.databases, now.astimezone(environment.timezone))
    title = report_title(week, status)
    local = (run.tick or now).astimezone(environment.timezone)
    notice = Notice(
        (f"digest {local:%Y-%m-%d}",), title, report_text(week, status, stored, environment, now), Severity.INFO
    )
    figures = {
        "databases": week.databases,
        "backups": week.backups,
        "stored_bytes": stored,
        "problems": len(status.problems),
    }
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would send: {title}", figures)
    return Result(Outcome.DONE, title, figures, notice=notice)


def week_of_backups(databases: Sequence[DatabaseStatus], local_now: datetime) -> WeekOfBackups:
    """Return what ran in the last seven days, today included."""
    first = local_now.date() - timedelta(days=REPORTED_DAYS - 1)
    by_name = {each.name: [runs for day, runs in each.days.items() if day >= first] for each in databases}
    verified = {
        name for name, days in by_name.items() if any(day.verifications > day.failed_verifications for day in days)
    }
    days = [day for of_database in by_name.values() for day in of_database]
    return WeekOfBackups(
        len(by_name),
        sum(day.backups for day in days),
        sum(day.failed_backups for day in days),
        len(verified),
        tuple(sorted(by_name.keys() - verified)),
    )


def report_title(week: WeekOfBackups, status: EnvironmentStatus) -> str:
    """Return the subject line of a report."""
    verified = "all" if week.verified == week.databases else f"{week.verified}"
    problems = plural(len(status.problems), "problem") if status.problems else "no problems"
    databases, times = plural(week.databases, "database"), plural(week.backups, "time")
    return f"{databases} backed up {times} in {REPORTED_DAYS} days, {verified} verified, {problems}"


def report_text(
    week: WeekOfBackups, status: EnvironmentStatus, stored: int, environment: Environment, now: datetime
) -> str:
    """Return the text of a report."""
    places = ["the store", *environment.copies]
    lines = [
        f"Backups: {week.backups:,} made, {week.failed_backups:,} failed.",
        f"Stored: {format_size(stored)} in the store. Places: {', '.join(places)}.",
    ]
    if week.not_verified:
        lines.append(f"Not verified in {REPORTED_DAYS} days: {and_more(week.not_verified, _SHOWN)}.")
    if status.cost:
        lines.append(f"Cost: {sentences.spent(status.cost)}.")
    problems = [
        f"- {each.job} {each.subject}: {each.state}"
        + (f" since {format_time(each.since, now, environment.timezone)}" if each.since else "")
        for each in status.problems
    ]
    lines += ["Problems now:", *problems[:_SHOWN]] if problems else ["No problems."]
    if len(problems) > _SHOWN:
        lines.append(f"- and {len(problems) - _SHOWN} more")
    if environment.alerts.digest:
        lines.append(
            f"The schedule of this report is {environment.alerts.digest}. "
            f"If it does not come, nothing runs: crew status {environment.name}"
        )
    return "\n".join(lines)


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """Return the one report, if there is an address to send it to."""
    return select_single(SUBJECT, options, configured=bool(environment.alerts.addresses_of("digest")))


def schedule(environment: Environment, _subject: str) -> str | None:
    """Return the cron line of the report."""
    return environment.alerts.digest


DIGEST = Job("digest", subjects, work, schedule)
