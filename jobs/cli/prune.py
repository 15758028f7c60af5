"""`crew backups prune`: what the policy keeps and removes, and why."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage
from jobs.format import format_duration, format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup.sets.sets import Set
    from jobs.retention.job import PrunePlan
    from jobs.retention.policy import Decision


def prune(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: Annotated[
        str | None,
        typer.Argument(metavar="[DATABASE]", help="Left out: all of them.", autocompletion=arguments.databases),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show each set's fate and the reasons, and remove nothing.")] = False,
    versions: Annotated[
        bool, typer.Option(help="Also what a versioned bucket keeps of sets that are gone: nobody gets them back.")
    ] = False,
    yes_to: Annotated[
        str | None, typer.Option(metavar="NAME", help="Yes, remove in this protected environment.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Remove the sets that no rule of `keep` keeps.

    Never removed are the newest complete set, the newest verified one, and pinned ones; a policy without rules removes
    nothing. Left-overs of runs that died go too, once they are a day old and their lock is gone.
    """
    from jobs.cli.run import record_as_json, show, worst_first
    from jobs.retention.job import plan_prune, retention, subjects
    from jobs.run import Options, exit_code, run_job

    environment = arguments.environment(ctx, environment_name)
    store = arguments.store(environment, "retention")
    options = Options(only=(database,) if database else (), dry_run=dry_run)
    if dry_run:
        now = datetime.now(UTC)
        outlooks = [plan_prune(store, environment, name, now) for name in subjects(environment, options)]
        _show(environment, outlooks, now, as_json=as_json)
        return 0
    _consent(environment, yes_to)
    records = worst_first(run_job(retention(versions=versions), environment, store, options))
    if as_json:
        arguments.print_json({"environment": environment.name, "runs": [record_as_json(one) for one in records]})
    else:
        show(records)
    return exit_code(records, scheduled=False)


def _consent(environment: Environment, yes_to: str | None) -> None:
    """By hand, what removes from a protected environment is asked for by name."""
    if not environment.protected or yes_to == environment.name:
        return
    if not sys.stdin.isatty():
        raise WrongUsage(
            f"{environment.name} is protected; to remove sets there by hand: --yes-to {environment.name} "
            "(--dry-run shows which)"
        )
    from jobs.run import Failed

    if typer.prompt(f"{environment.name} is protected. To remove sets there, type its name") != environment.name:
        raise Failed(f"nothing was removed; the answer was not {environment.name}")


def _show(environment: Environment, outlooks: Sequence[PrunePlan], now: datetime, *, as_json: bool) -> None:
    if as_json:
        arguments.print_json(
            {"environment": environment.name, "databases": [outlook_as_json(each) for each in outlooks]}
        )
        return
    for outlook in outlooks:
        output.say(f"{environment.name}/{outlook.database}")
        _show_one(outlook, now)
        typer.echo()
    if len(outlooks) > 1:
        kept = [each for outlook in outlooks for each in outlook.kept]
        removed = [each for outlook in outlooks for each in outlook.removed]
        output.say(f"{environment.name}: keep {_total(kept)}; remove {_total(removed)}")


def _show_one(outlook: PrunePlan, now: datetime) -> None:
    if not outlook.decisions:
        output.say("  no complete backup sets", output.QUIET)
    else:
        rows = [_row(each, now) for each in outlook.decisions]
        output.table(rows, ("set", "age", "size", "", "why, and what is left of each counter"), indent=2)
    if not outlook.has_rules:
        output.say("  keep has no rules for it, so nothing is ever removed", output.WARN)
    output.say(f"  keep {_total(outlook.kept)}; remove {_total(outlook.removed)}{_left_overs(outlook)}")


def _row(decision: Decision[Set], now: datetime) -> tuple[output.Cell | str, ...]:
    from jobs.retention.policy import explain as reasons

    fate = output.Cell("keep", output.GOOD) if decision.keep else output.Cell("remove", output.BAD)
    return (
        decision.set.id,
        format_duration(now - decision.set.started),
        format_size(decision.set.size),
        fate,
        reasons(decision),
    )


def _total(sets: Iterable[Set]) -> str:
    sizes = [each.size for each in sets]
    return f"{plural(len(sizes), 'set')}, {format_size(sum(sizes))}"


def _left_overs(outlook: PrunePlan) -> str:
    if not outlook.dead and not outlook.uploads:
        return ""
    return f"; left by runs that died: {_total(outlook.dead)} and {plural(len(outlook.uploads), 'open upload')}"


def outlook_as_json(outlook: PrunePlan) -> dict[str, Any]:
    """What retention would do to a database, for machines."""
    from jobs.backup.sets.manifest import iso_timestamp
    from jobs.retention.policy import explain as reasons

    return {
        "database": outlook.database,
        "has_rules": outlook.has_rules,
        "sets": [
            {
                "set": each.set.id,
                "started": iso_timestamp(each.set.started),
                "stored_bytes": each.set.size,
                "keep": each.keep,
                "reasons": list(each.reasons),
                "left": {left.rule: left.count for left in each.left},
                "words": reasons(each),
            }
            for each in outlook.decisions
        ],
        "keep_bytes": sum(each.size for each in outlook.kept),
        "remove_bytes": sum(each.size for each in outlook.removed),
        "dead_sets": [each.id for each in outlook.dead],
        "open_uploads": [each.key for each in outlook.uploads],
    }
