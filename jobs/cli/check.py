"""`crew check`: everything that an environment names, reached once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from inventories import ExitCode
from jobs.checks import Check, CheckResult, CheckVerdict, checks_of, run_checks
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, examples, new_app
from jobs.format import plural

app = new_app()

STYLES = {CheckVerdict.FAULT: output.BAD, CheckVerdict.WARN: output.WARN, CheckVerdict.OK: output.GOOD}
_WORST_FIRST = list(CheckVerdict)


@app.command("check", epilog=examples("crew check staging", "crew check production --json"))
def check(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    limit: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, help="How long each check may take.")] = 30.0,
    as_json: AsJson = False,
) -> int:
    """Reach all that an environment names, once.

    The store is written and read (nothing is deleted), databases are logged into, the decrypting key is tried, alert
    and heartbeat addresses are looked at without sending anything. A line each; a fault says what to do about it.
    """
    environment = arguments.environment(ctx, environment_name)
    found = worst_first(list(run_checks(checks_of(environment), limit)))
    if as_json:
        arguments.print_json({"environment": environment.name, **check_as_json(found)})
    else:
        output.table([(output.Cell(f.verdict, STYLES[f.verdict]), c.name, str(f)) for c, f in told_once(found)])
        output.say(f"\n{environment.name}: {verdict(found)}", STYLES[worst(found)])
    return ExitCode.FAILED if worst(found) is CheckVerdict.FAULT else ExitCode.DONE


Found = Sequence[tuple[Check, CheckResult]]


def told_once(found: Found) -> Found:
    """What several checks stumbled over in the same words becomes one line."""
    by_words: dict[object, tuple[Check, CheckResult]] = {}
    for check, finding in found:
        words = check.name if finding.verdict is CheckVerdict.OK else str(finding)
        first = by_words.get(words)
        named = replace(check, name=f"{first[0].name}, {check.name}") if first else check
        by_words[words] = (named, finding)
    return list(by_words.values())


def worst_first(found: Found) -> list[tuple[Check, CheckResult]]:
    """Faults on top, then warnings; each in the order of its name."""
    return sorted(found, key=lambda pair: (_WORST_FIRST.index(pair[1].verdict), pair[0].name))


def worst(found: Found) -> CheckVerdict:
    """What it comes to."""
    return min((finding.verdict for _, finding in found), key=_WORST_FIRST.index, default=CheckVerdict.OK)


def verdict(found: Found) -> str:
    """The last line: how many of what, as many as there are lines that say so."""
    lines = told_once(found)
    faults, warnings = (sum(f.verdict is kind for _, f in lines) for kind in (CheckVerdict.FAULT, CheckVerdict.WARN))
    if not faults and not warnings:
        return f"all {plural(len(found), 'check')} ok"
    return f"{plural(faults, 'fault')}, {plural(warnings, 'warning')} in {plural(len(found), 'check')}"


def check_as_json(found: Found) -> dict[str, Any]:
    """For machines."""
    return {
        "verdict": worst(found),
        "checks": [
            {"check": c.name, "verdict": f.verdict, "fact": f.fact, "remedy": f.remedy or None} for c, f in found
        ],
    }
