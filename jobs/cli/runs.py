"""`crew runs`: what ran, when, how it ended, and its log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.cli import frame, output, words
from jobs.cli.frame import AsJson, EnvironmentName, examples, new_app
from jobs.cli.run import STYLES, told

if TYPE_CHECKING:
    from jobs.run.record import Record

app = new_app()

Job = Annotated[str | None, typer.Argument(metavar="JOB", help="Only this job.", autocompletion=frame.jobs)]
Name = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Only this database, stack, …", autocompletion=frame.databases)
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

    Newest first. One run, chosen by --last or --run ID, is shown with its figures and its log.
    """
    from jobs.run.record import records

    environment = frame.environment(ctx, environment_name)
    found = records(frame.store(environment), environment.name, job, name)
    if last or run:
        return _show_one(chosen(found, run), environment_name, run, environment.timezone, as_json=as_json)
    newest = list(islice(found, limit))
    if as_json:
        frame.print_json({"environment": environment.name, "runs": [told(record) for record in newest]})
    elif newest:
        show(newest, datetime.now(UTC), environment.timezone)
    else:
        output.say(f"{environment_name}: nothing has run yet{_asked_for(job, name)}.", output.QUIET)
    return 0


def _asked_for(job: str | None, name: str | None) -> str:
    return f" of {' '.join(filter(None, (job, name)))}" if job else ""


def chosen(found: Iterable[Record], run: str | None) -> Record | None:
    """The run of this id; without an id the newest."""
    return next((record for record in found if run in (None, record.run)), None)


def show(newest: Iterable[Record], now: datetime, zone: tzinfo) -> None:
    """A line for each run."""
    output.table(
        [
            (
                words.moment(r.started, now, zone),
                output.Cell(r.outcome, STYLES[r.outcome]),
                r.job,
                r.subject,
                words.span(r.duration),
                output.Cell(r.run, output.QUIET),
                r.sentence,
            )
            for r in newest
        ],
        ("started", "end", "job", "subject", "took", "run", ""),
    )


def _show_one(record: Record | None, environment: str, run: str | None, zone: tzinfo, *, as_json: bool) -> int:
    if record is None:
        from jobs.run.job import Failed

        raise Failed(f"{environment}: there is no run {run or 'yet'} here; those that are: crew runs {environment}")
    if as_json:
        frame.print_json({"environment": environment, **told(record), "log": list(record.log)})
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
        "took": f"{words.span(record.duration)} on {record.host}, attempt {record.attempts}",
        "stopped": record.stopped,
        "took over": record.took_over,
        **{name.replace("_", " "): str(value) for name, value in record.figures.items()},
    }
    return [(name, fact) for name, fact in facts.items() if fact]
