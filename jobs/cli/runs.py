"""`crew runs`: list runs, or show one run with its log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, complete_job, examples, new_app
from jobs.cli.run import STYLES, record_as_json
from jobs.format import format_duration, format_time
from jobs.run.documents import to_second

if TYPE_CHECKING:
    from jobs.run.lease import Holder
    from jobs.run.record import Record

app = new_app()

OptionalJob = Annotated[
    str | None, typer.Argument(metavar="JOB", help="Job, such as backup (default: all).", autocompletion=complete_job)
]
OptionalSubject = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Database, stack or other subject of the job (default: all).",
        autocompletion=arguments.complete_database,
    ),
]


@app.command(
    "runs",
    epilog=examples(
        "crew runs production",
        "crew runs production backup",
        "crew runs production backup shop --last",
        "crew runs production --run 20261126T112029Z-4f1c2a",
    ),
)
def runs_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    job: OptionalJob = None,
    name: OptionalSubject = None,
    last: Annotated[bool, typer.Option("--last", help="Show the newest run with its log.")] = False,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Show the run with this ID, with its log.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="Number of runs to list.")] = 20,
    as_json: AsJson = False,
) -> int:
    """List runs, or show one run with its log.

    Lists running jobs first, then ended runs, newest first.
    """
    from jobs.run.record import live_holders, records

    environment, now = arguments.open_environment(ctx, environment_name), datetime.now(UTC)
    store = arguments.environment_store(environment)
    ended = records(store, environment.name, job, name)
    if last or run:
        return _show_run(select_run(ended, run), environment_name, run, environment.timezone, as_json=as_json)
    held = [lock for lock in live_holders(store, environment.name, now).items() if is_of(lock[0], job, name)]
    newest = list(islice(ended, limit))
    # A run that has its record but still holds its lock has ended.
    live = [(subject, holder) for subject, holder in held if holder.run not in {record.run for record in newest}]
    if as_json:
        output.print_json(
            {
                "environment": environment.name,
                "running": [running_as_json(*lock) for lock in live],
                "runs": [record_as_json(record) for record in newest],
            }
        )
    elif live or newest:
        print_runs(live, newest, now, environment.timezone)
    else:
        of = f" of {' '.join(filter(None, (job, name)))}" if job else ""
        output.say(f"{environment_name}: no runs{of} yet", output.QUIET)
    return 0


def select_run(ended: Iterable[Record], run: str | None) -> Record | None:
    """Return the run with this ID; without an ID the newest run."""
    return next((record for record in ended if run in (None, record.run)), None)


def is_of(lock: str, job: str | None, subject: str | None) -> bool:
    """Return whether the lock `<job>/<subject>` is of this job and subject; None matches any."""
    return all(wanted in (None, part) for wanted, part in zip((job, subject), lock.split("/", 1), strict=True))


def running_as_json(lock: str, holder: Holder) -> dict[str, Any]:
    """Return a run in progress for --json."""
    job, subject = lock.split("/", 1)
    return {
        "run": holder.run,
        "job": job,
        "subject": subject,
        "started": to_second(holder.since),
        "host": holder.host,
        "pid": holder.pid,
    }


def print_runs(live: Iterable[tuple[str, Holder]], newest: Iterable[Record], now: datetime, zone: tzinfo) -> None:
    """Print a line for each run: runs in progress first, then ended runs."""
    running: list[tuple[output.Cell | str, ...]] = [
        (
            format_time(holder.since, now, zone),
            output.Cell("running", output.RUNNING),
            *lock.split("/", 1),
            format_duration(now - holder.since),
            output.Cell(holder.run, output.QUIET),
            f"on {holder.host} (pid {holder.pid})",
        )
        for lock, holder in live
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
    output.table([*running, *ended], ("started", "outcome", "job", "subject", "took", "run", ""))


def _show_run(record: Record | None, environment: str, run: str | None, zone: tzinfo, *, as_json: bool) -> int:
    if record is None:
        from jobs.run.job import Failed

        what = f"there is no run {run}" if run else "there is no such run yet"
        raise Failed(f"{environment}: {what}; to list all runs: crew runs {environment}")
    if as_json:
        output.print_json({"environment": environment, **record_as_json(record), "log": list(record.log)})
        return 0
    output.say(f"{record.outcome}: {record.sentence}", STYLES[record.outcome])
    output.table(_facts(record, zone), indent=2)
    for line in record.log or ("The log is empty.",):
        output.say(line)
    return 0


def _facts(record: Record, zone: tzinfo) -> list[tuple[str, str]]:
    """Return the rows about one run: name and value."""
    started_by = "by the scheduler" if record.scheduled else "by hand"
    facts = {
        "run": record.run,
        "job": f"{record.job} {record.subject}",
        "started": f"{record.started.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}, {started_by}",
        "took": f"{format_duration(record.duration)} on {record.host}, attempt {record.attempts}",
        "stopped": record.stopped,
        "took over": record.took_over,
        **{name.replace("_", " "): str(value) for name, value in record.figures.items()},
    }
    return [(name, fact) for name, fact in facts.items() if fact]
