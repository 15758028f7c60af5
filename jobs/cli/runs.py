"""`crew runs`: what ran, when, how it ended, and its log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, examples, new_app
from jobs.cli.run import STYLES, record_as_json
from jobs.format import format_duration, format_time
from jobs.run.documents import to_second

if TYPE_CHECKING:
    from jobs.run.lease import Holder
    from jobs.run.record import Record

app = new_app()

Job = Annotated[str | None, typer.Argument(metavar="JOB", help="Only this job.", autocompletion=arguments.jobs)]
Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Only this database, stack, …", autocompletion=arguments.databases)
]


@app.command(
    "runs",
    epilog=examples("crew runs production", "crew runs production backup", "crew runs production backup shop --last"),
)
def runs(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    job: Job = None,
    name: Name = None,
    last: Annotated[bool, typer.Option("--last", help="The newest run alone, with its log.")] = False,
    run: Annotated[str | None, typer.Option(metavar="ID", help="This run alone, with its log.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, the newest.")] = 20,
    as_json: AsJson = False,
) -> int:
    """What ran, when, and how it ended.

    What runs now, then the newest first. One run, chosen by --last or --run ID, is shown with its figures and its log.
    """
    from jobs.run.record import live_holders, records

    environment, now = arguments.environment(ctx, environment_name), datetime.now(UTC)
    store = arguments.store(environment)
    found = records(store, environment.name, job, name)
    if last or run:
        return _show_one(chosen(found, run), environment_name, run, environment.timezone, as_json=as_json)
    held = [one for one in live_holders(store, environment.name, now).items() if is_asked_for(one[0], job, name)]
    newest = list(islice(found, limit))
    live = [(of, holder) for of, holder in held if holder.run not in {record.run for record in newest}]
    if as_json:
        at_work = [told_live(*one) for one in live]
        arguments.print_json(
            {"environment": environment.name, "running": at_work, "runs": [record_as_json(r) for r in newest]}
        )
    elif live or newest:
        show(live, newest, now, environment.timezone)
    else:
        output.say(f"{environment_name}: nothing has run yet{_asked_for(job, name)}.", output.QUIET)
    return 0


def _asked_for(job: str | None, name: str | None) -> str:
    return f" of {' '.join(filter(None, (job, name)))}" if job else ""


def chosen(found: Iterable[Record], run: str | None) -> Record | None:
    """The run of this id; without an id the newest."""
    return next((record for record in found if run in (None, record.run)), None)


def is_asked_for(run: str, job: str | None, subject: str | None) -> bool:
    """Whether `<job>/<subject>` is of this job and subject; of any, where they are left out."""
    return all(asked in (None, part) for asked, part in zip((job, subject), run.split("/", 1), strict=True))


def told_live(run: str, holder: Holder) -> dict[str, Any]:
    """A run that has not ended, for machines."""
    job, subject = run.split("/", 1)
    return {
        "run": holder.run,
        "job": job,
        "subject": subject,
        "started": to_second(holder.since),
        "host": holder.host,
        "pid": holder.pid,
    }


def show(live: Iterable[tuple[str, Holder]], newest: Iterable[Record], now: datetime, zone: tzinfo) -> None:
    """A line for each run: those that have not ended, then the others."""
    at_work: list[tuple[output.Cell | str, ...]] = [
        (
            format_time(holder.since, now, zone),
            output.Cell("running", output.RUNNING),
            *run.split("/", 1),
            format_duration(now - holder.since),
            output.Cell(holder.run, output.QUIET),
            f"on {holder.host} (pid {holder.pid})",
        )
        for run, holder in live
    ]
    ended = [
        (
            format_time(r.started, now, zone),
            output.Cell(r.outcome, STYLES[r.outcome]),
            r.job,
            r.subject,
            format_duration(r.duration),
            output.Cell(r.run, output.QUIET),
            r.sentence,
        )
        for r in newest
    ]
    output.table([*at_work, *ended], ("started", "end", "job", "subject", "took", "run", ""))


def _show_one(record: Record | None, environment: str, run: str | None, zone: tzinfo, *, as_json: bool) -> int:
    if record is None:
        from jobs.run.job import Failed

        raise Failed(f"{environment}: there is no run {run or 'yet'} here; those that are: crew runs {environment}")
    if as_json:
        arguments.print_json({"environment": environment, **record_as_json(record), "log": list(record.log)})
        return 0
    output.say(f"{record.outcome}: {record.sentence}", STYLES[record.outcome])
    output.table(_facts(record, zone), indent=2)
    output.say("\n".join(record.log) or "It logged nothing.")
    return 0


def _facts(record: Record, zone: tzinfo) -> list[tuple[str, str]]:
    """What is worth knowing of one run, in words."""
    by = "schedule" if record.scheduled else "hand"
    facts = {
        "run": record.run,
        "job": f"{record.job} {record.subject}",
        "started": f"{record.started.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}, by {by}",
        "took": f"{format_duration(record.duration)} on {record.host}, attempt {record.attempts}",
        "stopped": record.stopped,
        "took over": record.took_over,
        **{name.replace("_", " "): str(value) for name, value in record.figures.items()},
    }
    return [(name, fact) for name, fact in facts.items() if fact]
