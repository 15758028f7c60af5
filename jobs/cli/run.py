"""`crew run`: run a job now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, DryRun, EnvironmentName, WrongUsage, complete_job, examples, new_app
from jobs.format import format_duration
from jobs.run.documents import to_second
from jobs.run.job import Options, Outcome

if TYPE_CHECKING:
    from jobs.hosts.report import HostChange
    from jobs.run.record import Record

app = new_app()

JOB_SUMMARIES = {
    "backup": "Take a backup set of each database.",
    "verify": "Restore the newest unverified set of each database, and each stanza, and check the result.",
    "retention": "Remove the backup sets that the policy `keep` does not cover.",
    "copy": "Copy the sets of each database to the second places under [copies].",
    "drift": "Compare each Terraform stack with the cloud.",
    "hosts": "Compare the hosts with their deploys, and change nothing.",
    "refresh": "Fill a database from another environment's newest verified set.",
    "cost": "Compare this month's cloud cost with the budget.",
    "status": "Write the status page into the store.",
    "digest": "Send a report on backups, problems and cost to the alert addresses.",
}
_JOBS_HELP = "\b\nJobs:\n" + "\n".join(f"  {name:<9}  {summary}" for name, summary in JOB_SUMMARIES.items())

WORST_FIRST = (Outcome.FAILED, Outcome.HELD, Outcome.FINDING, Outcome.DONE)
STYLES = {
    Outcome.FAILED: output.BAD,
    Outcome.HELD: output.WARN,
    Outcome.FINDING: output.WARN,
    Outcome.DONE: output.GOOD,
    Outcome.DIED: output.BAD,
    Outcome.RUNNING: output.RUNNING,
}


@app.command(
    "run",
    no_args_is_help=True,
    epilog=_JOBS_HELP
    + "\n\n"
    + examples(
        "crew run backup staging --only shop",
        "crew run backup production --tag pre-migration",
        "crew run drift production --json",
    ),
)
def run_command(
    ctx: typer.Context,
    job_name: Annotated[
        str,
        typer.Argument(
            metavar="JOB",
            help="Name of a job; all are listed below.",
            autocompletion=complete_job,
        ),
    ],
    environment_name: EnvironmentName,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Run it for this database, stanza, copy, stack or deploy only; can be repeated.",
            autocompletion=arguments.complete_subject,
        ),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="Tag for the new backup set; can be repeated.")
    ] = None,
    scheduled: Annotated[
        bool,
        typer.Option(
            "--scheduled",
            help="For schedulers: run the job once per scheduled time, on the first machine that starts it; exit 0 on "
            "findings or a held lock.",
        ),
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Run a job now.

    Runs the job for each of its subjects, such as databases or stacks. Each subject has its own lock and run record
    (see: crew runs). Sends an alert when a problem appears, changes or ends. Without --scheduled the job always runs.
    """
    from jobs.registry import JOBS, find_job
    from jobs.run import exit_code, run_job

    if job_name not in JOBS:
        raise WrongUsage(f"there is no job {job_name!r}; jobs are: {', '.join(sorted(JOBS))}")
    environment = arguments.open_environment(ctx, environment_name)
    options = Options(tuple(only or ()), tuple(tag or ()), scheduled, dry_run)
    store = arguments.store_for_run(environment, job_name, scheduled=scheduled)
    records = worst_first(run_job(find_job(job_name), environment, store, options))
    if as_json:
        runs = [{**record_as_json(record), **_changes_as_json(record)} for record in records]
        output.print_json({"environment": environment.name, "job": job_name, "runs": runs})
    else:
        print_records(records)
        _print_changes(records)
    return exit_code(records, scheduled=scheduled)


def _print_changes(records: Sequence[Record]) -> None:
    """Print each change that a deploy would make on a host."""
    rows = [
        (
            change.host,
            change.operation,
            change.target if change.target != change.operation else "",
            output.Cell(f"ignored: {change.ignored}", output.QUIET) if change.ignored else change.detail,
        )
        for record in records
        for change in _host_changes(record) or ()
    ]
    if rows:
        output.say("")
        output.table(rows, ("host", "operation", "target", "change"))


def _changes_as_json(record: Record) -> dict[str, Any]:
    changes = _host_changes(record)
    return {} if changes is None else {"changes": [host_change_as_json(change) for change in changes]}


def host_change_as_json(change: HostChange) -> dict[str, Any]:
    """Return a change that a deploy would make on a host, for --json."""
    return {
        "host": change.host,
        "operation": change.operation,
        "target": change.target or None,
        "detail": change.detail or None,
        "ignored": change.ignored or None,
    }


def _host_changes(record: Record) -> Sequence[HostChange] | None:
    from jobs.hosts.report import HostComparison

    return record.details.changes if isinstance(record.details, HostComparison) else None


def worst_first(records: Iterable[Record]) -> list[Record]:
    """Return the records with failures first, otherwise in their order."""
    return sorted(records, key=lambda record: WORST_FIRST.index(record.outcome))


def print_records(records: Sequence[Record]) -> None:
    """Print a line for each subject with its outcome."""
    if not records:
        remedy = "To list all keys: crew init --reference"
        output.say(f"Nothing to run: the environment file names nothing for this job. {remedy}", output.QUIET)
        return
    output.table(
        [
            (output.Cell(r.outcome, STYLES[r.outcome]), f"{r.job} {r.subject}", format_duration(r.duration), r.sentence)
            for r in records
        ]
    )


def record_as_json(record: Record) -> dict[str, Any]:
    """Return a run record for --json."""
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
        "user": record.user,
        "command": record.command,
        "scheduled": record.scheduled,
    }
