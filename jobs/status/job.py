"""The job `status`: writes the status page into the store."""

from __future__ import annotations

from collections.abc import Sequence

from inventories import Environment, Status
from jobs.format import plural
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run, select_single
from jobs.run.ticks import next_ticks
from jobs.status.collect import environment_status
from jobs.status.page import render_page
from jobs.store import Store

SUBJECT = "page"


def work(run: Run) -> Result:
    """Write the page of this environment to the key that [status] names."""
    environment, settings = run.environment, run.environment.status
    if settings is None:
        raise Failed(f"{environment.name}: no [status] section, so there is no key to write the page to; add one")
    status = environment_status(environment, run.store, run.started)
    line = schedule(environment, SUBJECT)
    due = next(next_ticks(line, environment.timezone, run.started)) if line else None
    body = render_page([status], run.started, due).encode()
    figures = {"problems": len(status.problems), "bytes": len(body)}
    problems = plural(len(status.problems), "problem") if status.problems else "no problems"
    key = page_key(environment.name, settings)
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would write {key}: {problems}", figures)
    run.store.put(key, body)
    return Result(Outcome.DONE, f"{problems}; written to {key}", figures)


def page_key(environment: str, settings: Status) -> str:
    """Return the key of an environment's page; by default, environments that share a store have different keys."""
    return settings.publish or f"{environment}/status/index.html"


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """Return the one page, if [status] exists."""
    return select_single(SUBJECT, options, configured=environment.status is not None)


def schedule(environment: Environment, _subject: str) -> str | None:
    """Return the cron line of the page."""
    return environment.status.at if environment.status else None


STATUS = Job("status", subjects, work, schedule)
