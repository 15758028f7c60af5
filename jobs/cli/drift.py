"""`crew drift`: whether the cloud is as the code has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentNames, WrongUsage, examples, new_app

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.run.stop import Stop
    from terraform.report import DriftReport, StackReport

app = new_app()

AT_ONCE = 4
STYLES = {"bad": output.BAD, "warn": output.WARN, "good": output.GOOD, "quiet": output.QUIET}


class Format(StrEnum):
    """How it is told."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class FailOn(StrEnum):
    """What is a finding, besides drift."""

    DRIFT = "drift"
    PENDING = "pending"


@app.command(
    "drift", epilog=examples("crew drift staging", "crew drift --all --format markdown", "crew drift production --json")
)
def drift(
    ctx: typer.Context,
    environment_names: EnvironmentNames = None,
    all_of_them: Annotated[bool, typer.Option("--all", help="Every environment that has stacks.")] = False,
    form: Annotated[Format, typer.Option("--format", help="text, json, or markdown for a job summary.")] = Format.TEXT,
    fail_on: Annotated[
        FailOn, typer.Option(help="pending: code that is not applied yet exits 2 as well.")
    ] = FailOn.DRIFT,
    as_json: AsJson = False,
) -> int:
    """Look whether the stacks are as the code has them.

    It only reads: no lock is taken, no state is written, nothing is applied, no run is recorded (crew run drift does
    that, and alerts). Drift exits 2; code that is merely not applied yet does not, unless asked to.
    """
    reports = _looked(_wanted(ctx, environment_names or [], all_of_them=all_of_them))
    _tell(reports, Format.JSON if as_json else form)
    if any(one.failed for one in reports):
        return ExitCode.FAILED
    found = any(one.drifted or (one.pending and fail_on is FailOn.PENDING) for one in reports)
    return ExitCode.FINDING if found else ExitCode.DONE


def _wanted(ctx: typer.Context, names: Sequence[str], *, all_of_them: bool) -> list[Environment]:
    repository = arguments.repository(ctx)
    if bool(names) == all_of_them:
        raise WrongUsage("name the environments to look at, or --all")
    found = [repository.read(name) for name in names or repository.names()]
    return [one for one in found if one.stacks or names]


def _looked(environments: Sequence[Environment]) -> list[DriftReport]:
    """Every stack of every environment, side by side."""
    from jobs.run.stop import ended_by_signals

    wanted = [(environment, name) for environment in environments for name in environment.stacks]
    with ended_by_signals() as stop, ThreadPoolExecutor(AT_ONCE) as pool:
        seen = list(pool.map(lambda one: _seen(stop, *one), wanted))
    by_environment: dict[str, list[StackReport]] = {one.name: [] for one in environments}
    for (environment, _), one in zip(wanted, seen, strict=True):
        by_environment[environment.name].append(one)
    return [_report(one, by_environment[one.name]) for one in environments]


def _seen(stop: Stop, environment: Environment, name: str) -> StackReport:
    from inventories import redact
    from jobs.stacks.execution import immediate_start, open_stack
    from terraform.errors import StackError
    from terraform.find_drift import find_drift
    from terraform.report import StackReport

    try:
        return StackReport(name, find_drift(open_stack(environment, name, immediate_start(stop))))
    except StackError as error:
        return StackReport(name, error=redact(str(error)).removeprefix(f"{environment.name}/{name}: "))


def _report(environment: Environment, seen: Sequence[StackReport]) -> DriftReport:
    from terraform import drift
    from terraform.report import DriftReport

    rules = environment.drift.ignore if environment.drift else ()
    complete = not any(one.error for one in seen)
    unmatched = drift.unmatched_rules((finding for one in seen for finding in one.findings), rules) if complete else []
    return DriftReport(environment.name, tuple(seen), tuple(unmatched))


def _tell(reports: Sequence[DriftReport], form: Format) -> None:
    from terraform.report import as_json, as_markdown, as_text

    if form is Format.JSON:
        arguments.print_json({"environments": [as_json(one) for one in reports]})
        return
    say: Callable[[str], None] = output.say
    for report in reports:
        if form is Format.MARKDOWN:
            for line in as_markdown(report):
                say(line)
        else:
            for line, loud in as_text(report):
                output.say(line, STYLES.get(loud, ""))
