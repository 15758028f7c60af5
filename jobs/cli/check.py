"""`crew check`: test access to everything that an environment names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from inventories import Environment, ExitCode
from jobs.checks import Check, CheckResult, CheckVerdict, checks_of, run_checks
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, examples, new_app
from jobs.format import and_more, plural

app = new_app()

STYLES = {CheckVerdict.FAULT: output.BAD, CheckVerdict.WARN: output.WARN, CheckVerdict.OK: output.GOOD}
_WORST_FIRST = list(CheckVerdict)
OTHERS_SHOWN = 5

CheckResults = Sequence[tuple[Check, CheckResult]]


@app.command(
    "check", epilog=examples("crew check staging", "crew check staging --create", "crew check production --json")
)
def check_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    limit: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="Time limit of each check.")] = 30.0,
    create: Annotated[
        bool,
        typer.Option(
            "--create",
            help="First make the store for this environment, and its copies: create directories and mark them.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Test an environment's store, databases, keys and programs.

    Writes one small test object to the store and changes nothing else. Logs in to each database and tries the
    decryption key. Validates alert and heartbeat addresses without sending anything. Each fault comes with a remedy.
    Exits with 1 if there is a fault, with 0 if there are only warnings. A new store needs --create once: without the
    mark that it writes, the URL of the store could be wrong, or its disk not mounted.
    """
    environment = arguments.open_environment(ctx, environment_name)
    made = create and _make_store(environment, quiet=as_json)
    results = sorted_by_verdict(list(run_checks(checks_of(environment), limit)))
    if as_json:
        output.print_json({"environment": environment.name, "made_store": made, **results_as_json(results)})
    else:
        output.table(
            [(output.Cell(f.verdict, STYLES[f.verdict]), c.name, str(f)) for c, f in merge_same_problems(results)]
        )
        output.say("")
        output.say(f"{environment.name}: {closing_line(results)}", STYLES[worst_verdict(results)])
    return ExitCode.FAILED if worst_verdict(results) is CheckVerdict.FAULT else ExitCode.DONE


def _make_store(environment: Environment, *, quiet: bool) -> bool:
    """Make the store of an environment and of its copies; return whether one is new. The checks run in any case."""
    from jobs.store import StoreError, environments_in, make_store, open_store

    stores = [arguments.unmarked_store(environment), *map(open_store, environment.copies.values())]
    made_stores = []
    for store in stores:
        try:
            made = make_store(store, environment.name)
        except StoreError as error:
            output.print_warnings([f"cannot make the store: {error}"])
            continue
        made_stores += [store] if made else []
        if made and not quiet:
            others = [name for name in environments_in(store) if name != environment.name]
            beside = f", which also has data of {and_more(others, OTHERS_SHOWN)}" if others else ""
            output.say(f"made a store for {environment.name} in {store.url}{beside}", output.GOOD)
        elif not quiet:
            output.say(f"{store.url} is the store of {environment.name} already")
    return bool(made_stores)


def merge_same_problems(results: CheckResults) -> CheckResults:
    """Return the results with those that report the same problem merged into one."""
    by_text: dict[object, tuple[Check, CheckResult]] = {}
    for check, finding in results:
        text = check.name if finding.verdict is CheckVerdict.OK else str(finding)
        first = by_text.get(text)
        named = replace(check, name=f"{first[0].name}, {check.name}") if first else check
        by_text[text] = (named, finding)
    return list(by_text.values())


def sorted_by_verdict(results: CheckResults) -> list[tuple[Check, CheckResult]]:
    """Return faults first, then warnings; each group in the order of its names."""
    return sorted(results, key=lambda pair: (_WORST_FIRST.index(pair[1].verdict), pair[0].name))


def worst_verdict(results: CheckResults) -> CheckVerdict:
    """Return the worst verdict of all results."""
    return min((finding.verdict for _, finding in results), key=_WORST_FIRST.index, default=CheckVerdict.OK)


def closing_line(results: CheckResults) -> str:
    """Return the number of faults and warnings, counted as they are printed."""
    lines = merge_same_problems(results)
    faults, warnings = (
        sum(f.verdict is verdict for _, f in lines) for verdict in (CheckVerdict.FAULT, CheckVerdict.WARN)
    )
    if not faults and not warnings:
        return f"all {plural(len(results), 'check')} ok"
    return f"{plural(faults, 'fault')}, {plural(warnings, 'warning')} in {plural(len(results), 'check')}"


def results_as_json(results: CheckResults) -> dict[str, Any]:
    """Return the results for --json."""
    return {
        "verdict": worst_verdict(results),
        "checks": [
            {"check": c.name, "verdict": f.verdict, "fact": f.fact, "remedy": f.remedy or None} for c, f in results
        ],
    }
