"""`crew run`: a job, now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, JobName, WrongUsage, examples, new_app
from jobs.format import format_duration
from jobs.run.documents import to_second
from jobs.run.job import Options, Outcome

if TYPE_CHECKING:
    from jobs.run.record import Record

app = new_app()

WORST_FIRST = (Outcome.FAILED, Outcome.HELD, Outcome.FINDING, Outcome.DONE)
STYLES = {
    Outcome.FAILED: output.BAD,
    Outcome.HELD: output.WARN,
    Outcome.FINDING: output.WARN,
    Outcome.DONE: output.GOOD,
}


@app.command("run", epilog=examples("crew run backup staging --only shop", "crew run drift production --json"))
def run(
    ctx: typer.Context,
    job_name: JobName,
    environment_name: EnvironmentName,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this subject; may be repeated.", autocompletion=arguments.databases),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag for what is made; may be repeated.")
    ] = None,
    scheduled: Annotated[
        bool,
        typer.Option("--scheduled", help="As a scheduler calls it: a tick runs once, findings and a held lock exit 0."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Run a job now.

    By hand a job always runs; --scheduled runs the tick that is due, once. Each subject (a database, a stack) runs
    under its own lock, leaves a record (crew runs) and tells the environment's alert addresses if its end is news.
    """
    from jobs.registry import JOBS, find_job
    from jobs.run import exit_code, run_job

    if job_name not in JOBS:
        raise WrongUsage(f"there is no job {job_name!r}; there {_there_are(JOBS)}")
    environment = arguments.environment(ctx, environment_name)
    options = Options(tuple(only or ()), tuple(tag or ()), scheduled, dry_run)
    records = worst_first(run_job(find_job(job_name), environment, arguments.store(environment, job_name), options))
    if as_json:
        arguments.print_json(
            {"environment": environment.name, "job": job_name, "runs": [record_as_json(r) for r in records]}
        )
    else:
        show(records)
    return exit_code(records, scheduled=scheduled)


def _there_are(jobs: Iterable[str]) -> str:
    names = ", ".join(sorted(jobs))
    return f"are: {names}" if names else "are none yet"


def worst_first(records: Iterable[Record]) -> list[Record]:
    """The bad news on top, else as they came."""
    return sorted(records, key=lambda record: WORST_FIRST.index(record.outcome))


def show(records: Sequence[Record]) -> None:
    """A line for each subject: how it ended, in a sentence."""
    if not records:
        output.say("There was nothing to run: no subject of this environment has this job.", output.QUIET)
        return
    output.table(
        [
            (output.Cell(r.outcome, STYLES[r.outcome]), f"{r.job} {r.subject}", format_duration(r.duration), r.sentence)
            for r in records
        ]
    )


def record_as_json(record: Record) -> dict[str, Any]:
    """A record for machines."""
    return {
        "run": record.run,
        "job": record.job,
        "subject": record.subject,
        "outcome": record.outcome,
        "sentence": record.sentence,
        "tick": to_second(record.tick),
        "started": to_second(record.started),
        "ended": to_second(record.ended),
        "seconds": round(record.duration.total_seconds(), 3),
        "figures": dict(record.figures),
        "attempts": record.attempts,
        "stopped": record.stopped,
        "host": record.host,
        "scheduled": record.scheduled,
    }
