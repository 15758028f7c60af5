"""`crew backups prune`: remove the backup sets that the retention policy does not keep."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import AsJson, EnvironmentName, FromCopy, OptionalDatabase, YesTo
from jobs.format import format_duration, format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup import Set
    from jobs.retention.job import PrunePlan
    from jobs.retention.policy import Decision
    from jobs.store import Store


PruneDryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show which sets would be kept and removed, and why; remove nothing.")
]
PruneVersions = Annotated[
    bool,
    typer.Option(
        "--versions", help="Also delete old object versions of removed sets (versioned buckets); cannot be undone."
    ),
]
SetToRemove = Annotated[
    str | None,
    typer.Option(
        "--set", metavar="ID", help="Remove only this set: untrusted, dated in the future, or without its manifest."
    ),
]


def prune_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: OptionalDatabase = None,
    dry_run: PruneDryRun = False,
    versions: PruneVersions = False,
    set_id: SetToRemove = None,
    from_copy: FromCopy = None,
    yes_to: YesTo = None,
    as_json: AsJson = False,
) -> int:
    """Remove backup sets that no rule of `keep` covers.

    Never removes the newest complete set, the newest one that has not failed verification, the newest verified set or a
    pinned set. Sets that are not signed by a trusted key do not count. Without rules it removes no complete set. Also
    removes incomplete sets and open uploads of failed runs after one day, if no run holds the lock.
    """
    from jobs.cli.run import print_records, record_as_json, worst_first
    from jobs.retention.job import plan_prune, plan_removal, retention, subjects
    from jobs.run import Options, exit_code, run_job

    if set_id is not None and database is None:
        raise arguments.WrongUsage("--set needs a database: crew backups prune ENV DATABASE --set ID")
    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.environment_store(environment, "retention")
    options = Options(only=arguments.subjects_in(environment, database, from_copy), dry_run=dry_run)
    if dry_run:
        now = datetime.now(UTC)
        names = subjects(environment, store, options)
        plans = [
            plan_removal(store, environment, name, set_id, now) if set_id else plan_prune(store, environment, name, now)
            for name in names
        ]
        _print_plans(environment, plans, now, as_json=as_json)
        return 0
    if set_id is not None:
        plan_removal(store, environment, options.only[0], set_id, datetime.now(UTC))  # a wrong ID leaves no record
    if environment.protected:
        prompts.confirm_protected(
            environment.name,
            f"{environment.name} is protected; --dry-run shows what would be removed",
            "remove backup sets",
            "nothing was removed",
            yes_to=yes_to,
        )
    deleted = _confirm_versions(environment, store, subjects(environment, store, options), yes_to) if versions else None
    records = worst_first(run_job(retention(versions=deleted, set_id=set_id), environment, store, options))
    if as_json:
        output.print_json({"environment": environment.name, "runs": [record_as_json(record) for record in records]})
    else:
        print_records(records)
    return exit_code(records, scheduled=False)


def _confirm_versions(
    environment: Environment, store: Store, databases: Iterable[str], yes_to: str | None
) -> Collection[str]:
    """Return the sets that were deleted before. Ask first, because somebody else can have deleted them."""
    from jobs.backup import split_copy
    from jobs.retention.job import sets_deleted_before

    in_store = [name for name in databases if split_copy(environment, name)[0] is None]
    found = [each for name in in_store for each in sets_deleted_before(store, environment.name, name)]
    if found:
        names = [each.removeprefix(f"{environment.name}/backups/").rstrip("/") for each in found]
        output.say("Sets with objects that were deleted before, by retention or by somebody else:", output.WARN)
        output.table([[name] for name in names], indent=2)
        prompts.confirm_protected(
            environment.name,
            f"{plural(len(found), 'set')} of {environment.name} had objects deleted before; their versions cannot be "
            "restored once they are purged",
            "purge them",
            "nothing was removed",
            yes_to=yes_to,
        )
    return found


def _print_plans(environment: Environment, plans: Sequence[PrunePlan], now: datetime, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"environment": environment.name, "databases": [prune_plan_as_json(plan) for plan in plans]})
        return
    for plan in plans:
        output.say(f"{environment.name}/{plan.database}{f' in {plan.copy}' if plan.copy else ''}")
        _print_plan(plan, now)
        output.say("")
    if len(plans) > 1:
        kept = [each for plan in plans for each in plan.kept]
        removed = [each for plan in plans for each in plan.removed]
        output.say(f"{environment.name}: keep {_total(kept)}; remove {_total(removed)}")


def _print_plan(plan: PrunePlan, now: datetime) -> None:
    from jobs.retention.job import LOST_MANIFEST

    if not plan.decisions:
        output.say("  no complete backup sets", output.QUIET)
    else:
        rows = [_row(decision, now) for decision in plan.decisions]
        output.table(rows, ("set", "age", "size", "", "reason, and how many sets each rule still keeps"), indent=2)
    if not plan.has_rules:
        output.say("  keep has no rules, so no complete set is ever removed", output.WARN)
    if plan.dated_ahead:
        ids = ", ".join(each.id for each in plan.dated_ahead)
        output.say(f"  dated in the future and ignored: {ids} (to remove one: --set)", output.WARN)
    if plan.lost_manifest:
        ids = ", ".join(each.id for each in plan.lost_manifest)
        output.say(f"  {LOST_MANIFEST}: {ids} (to remove one: --set)", output.WARN)
    if plan.renewals:
        output.say(f"  renew the locks of {plural(len(plan.renewals), 'set')}")
    output.say(f"  keep {_total(plan.kept)}; remove {_total(plan.removed)}{_leftovers(plan)}")
    if plan.damage:
        output.say(f"  a run removes nothing, because {plan.damage}", output.BAD)


def _row(decision: Decision[Set], now: datetime) -> tuple[output.Cell | str, ...]:
    from jobs.retention.policy import explain as reasons

    action = output.Cell("keep", output.GOOD) if decision.keep else output.Cell("remove", output.BAD)
    return (
        decision.set.id,
        format_duration(now - decision.set.started),
        format_size(decision.set.size),
        action,
        reasons(decision),
    )


def _total(sets: Iterable[Set]) -> str:
    sizes = [each.size for each in sets]
    return f"{plural(len(sizes), 'set')}, {format_size(sum(sizes))}"


def _leftovers(plan: PrunePlan) -> str:
    if not plan.abandoned_sets and not plan.abandoned_uploads:
        return ""
    uploads = plural(len(plan.abandoned_uploads), "open upload")
    return f"; left by failed runs: {_total(plan.abandoned_sets)} and {uploads}"


def prune_plan_as_json(plan: PrunePlan) -> dict[str, Any]:
    """Return for --json what retention would keep and remove of a database."""
    from jobs.backup import iso_timestamp
    from jobs.retention.policy import explain as reasons

    return {
        "database": plan.database,
        "copy": plan.copy or None,
        "has_rules": plan.has_rules,
        "sets": [
            {
                "set": each.set.id,
                "started": iso_timestamp(each.set.started),
                "stored_bytes": each.set.size,
                "keep": each.keep,
                "reasons": list(each.reasons),
                "left": {counter.rule: counter.remaining for counter in each.counters},
                "explanation": reasons(each),
                "locked_until": iso_timestamp(until) if (until := plan.locked.get(each.set.id)) else None,
                "renew_lock_until": iso_timestamp(lock.until) if (lock := plan.renewals.get(each.set.id)) else None,
            }
            for each in plan.decisions
        ],
        "keep_bytes": sum(each.size for each in plan.kept),
        "remove_bytes": sum(each.size for each in plan.removed),
        "damage": plan.damage or None,
        "dated_ahead": [each.id for each in plan.dated_ahead],
        "lost_manifest": [each.id for each in plan.lost_manifest],
        "abandoned_sets": [each.id for each in plan.abandoned_sets],
        "open_uploads": [each.key for each in plan.abandoned_uploads],
    }
