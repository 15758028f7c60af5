"""`crew drift`: report drift and pending changes of Terraform stacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, WrongUsage, complete_environment, examples, new_app

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.stop import Stop
    from terraform.report import DriftReport, StackReport

app = new_app()

AT_ONCE = 4
STYLES = {"bad": output.BAD, "warn": output.WARN, "good": output.GOOD, "quiet": output.QUIET}


class Format(StrEnum):
    """The format of the report."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class FailOn(StrEnum):
    """What makes the command exit with 2; `pending` includes drift."""

    DRIFT = "drift"
    PENDING = "pending"


@app.command(
    "drift",
    epilog=examples(
        "crew drift staging",
        "crew drift --all --format markdown",
        "crew drift production --fail-on pending",
        "crew drift production --json",
    ),
)
def drift_command(
    ctx: typer.Context,
    environment_names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ENV...",
            help="Environments to compare; required without --all.",
            autocompletion=complete_environment,
        ),
    ] = None,
    all_environments: Annotated[bool, typer.Option("--all", help="Compare every environment that has stacks.")] = False,
    form: Annotated[
        Format, typer.Option("--format", help="Output format; markdown is for job summaries and issues.")
    ] = Format.TEXT,
    fail_on: Annotated[
        FailOn, typer.Option(help="What exits with 2: drift alone, or also code that is not applied yet (pending).")
    ] = FailOn.DRIFT,
    reports_folder: Annotated[
        Path | None,
        typer.Option(
            "--reports",
            metavar="DIR",
            help="Also write a Markdown report of each stack to DIR/ENV.STACK.VERDICT.md: drift, clean or failed.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Report drift and pending changes of Terraform stacks.

    Drift is a change that was made outside Terraform. A pending change is code that is not applied yet. The command
    plans each stack, takes no lock, writes no state, applies nothing and records no run. When it finds drift, it checks
    that no apply is in progress. To record runs and send alerts, use: crew run drift ENV. Exits with 2 on drift that no
    rule of [drift] ignores, with 1 if a stack could not be compared.
    """  # fmt: skip
    reports = _compare(_named_environments(ctx, environment_names or [], all_environments=all_environments))
    if reports_folder:
        with output.writing_to(reports_folder):
            _write_reports(reports, reports_folder)
    _print_reports(reports, Format.JSON if as_json else form)
    if any(report.failed for report in reports):
        return ExitCode.FAILED
    is_finding = any(report.drifted or (report.pending and fail_on is FailOn.PENDING) for report in reports)
    return ExitCode.FINDING if is_finding else ExitCode.DONE


def _named_environments(ctx: typer.Context, names: Sequence[str], *, all_environments: bool) -> list[Environment]:
    repository = arguments.find_repository(ctx)
    if bool(names) == all_environments:
        raise WrongUsage("name the environments to compare, or use --all, but not both")
    environments = [repository.read(name) for name in names or repository.names()]
    return [environment for environment in environments if environment.stacks or names]


def _compare(environments: Sequence[Environment]) -> list[DriftReport]:
    """Compare all stacks of all environments, several at once."""
    from jobs.run.stop import stopped_by_signals

    stacks = [(environment, name) for environment in environments for name in environment.stacks]
    with stopped_by_signals() as stop, ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda stack: _stack_result(stop, *stack), stacks))
    by_environment: dict[str, list[StackReport]] = {environment.name: [] for environment in environments}
    for (environment, _), result in zip(stacks, results, strict=True):
        by_environment[environment.name].append(result)
    return [_report(environment, by_environment[environment.name]) for environment in environments]


def _stack_result(stop: Stop, environment: Environment, name: str) -> StackReport:
    """Return the report of one stack. A bug becomes its error, so that the other stacks are still reported."""
    from inventories import redact
    from jobs.cli.exit_codes import apology, explained
    from jobs.stacks.execution import immediate_start, open_stack
    from terraform.errors import StackError
    from terraform.find_drift import find_drift
    from terraform.report import StackReport

    try:
        return StackReport(name, find_drift(open_stack(environment, name, immediate_start(stop))))
    except StackError as error:
        return StackReport(name, error=redact(str(error)).removeprefix(f"{environment.name}/{name}: "))
    except Exception as error:
        if explained(error):
            raise
        return StackReport(name, error=redact(apology(error)))


def _report(environment: Environment, results: Sequence[StackReport]) -> DriftReport:
    from terraform import drift
    from terraform.report import DriftReport

    rules = environment.drift.ignore if environment.drift else ()
    complete = not any(result.error for result in results)
    unmatched = drift.unmatched_rules((finding for result in results for finding in result.findings), rules)
    return DriftReport(environment.name, tuple(results), tuple(unmatched) if complete else ())


def _write_reports(reports: Sequence[DriftReport], folder: Path) -> None:
    """Write a file for each stack, whose name says the environment, the stack and the verdict."""
    from terraform.report import DriftReport, as_markdown

    folder.mkdir(parents=True, exist_ok=True)
    for report in reports:
        for stack in report.stacks:
            verdict = "failed" if stack.error else "drift" if stack.drifted else "clean"
            text = "\n".join(as_markdown(DriftReport(report.environment, (stack,))))
            (folder / f"{report.environment}.{stack.stack}.{verdict}.md").write_text(f"{text}\n")


def _print_reports(reports: Sequence[DriftReport], form: Format) -> None:
    from terraform.report import as_json, as_markdown, as_text

    if form is Format.JSON:
        output.print_json({"environments": [as_json(report) for report in reports]})
        return
    if not reports:
        output.say("No environment has stacks, so there is nothing to compare.", output.QUIET)
    say: Callable[[str], None] = output.say
    for report in reports:
        if not report.stacks:
            output.say(f"{report.environment}: no stacks, so there is nothing to compare", output.QUIET)
            continue
        if form is Format.MARKDOWN:
            for line in as_markdown(report):
                say(line)
        else:
            for line, style in as_text(report):
                output.say(line, STYLES.get(style, ""))
