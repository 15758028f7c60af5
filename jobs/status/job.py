"""The job `status`: writes the page into the store."""

from __future__ import annotations

from collections.abc import Sequence

from inventories import Environment
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run
from jobs.run.ticks import next_ticks
from jobs.status.collect import environment_status
from jobs.status.page import render_page
from jobs.store import Store

SUBJECT = "page"


def work(run: Run) -> Result:
    """Publish the page of this environment where [status] says."""
    environment, settings = run.environment, run.environment.status
    if settings is None:
        raise Failed(f"{environment.name}: has no [status] that says where the page goes; add one")
    seen = environment_status(environment, run.store, run.started)
    line = schedule(environment, SUBJECT)
    due = next(next_ticks(line, environment.timezone, run.started)) if line else None
    body = render_page([seen], run.started, due).encode()
    figures = {"wrong": len(seen.wrong), "bytes": len(body)}
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would write {settings.publish}, {len(seen.wrong)} wrong", figures)
    run.store.put(settings.publish, body)
    return Result(Outcome.DONE, f"{len(seen.wrong) or 'nothing'} wrong; written to {settings.publish}", figures)


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """The one page, if it is to be published."""
    wanted = environment.status is not None and (not options.only or SUBJECT in options.only)
    return [SUBJECT] if wanted else []


def schedule(environment: Environment, _subject: str) -> str | None:
    """When it is written."""
    return environment.status.at if environment.status else None


STATUS = Job("status", subjects, work, schedule)
