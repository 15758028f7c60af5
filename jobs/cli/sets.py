"""`crew backups list, show, fetch, pin, unpin`: the sets that are in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, DatabaseName, EnvironmentName
from jobs.format import format_duration, format_size, plural

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.backup.sets.manifest import Manifest
    from jobs.backup.sets.sets import Set
    from jobs.backup.sets.stored import StoredSet
    from jobs.store import Store

OneDatabase = Annotated[str | None, typer.Argument(metavar="[DATABASE]", help="Only this database.")]
PinnedId = Annotated[str | None, typer.Option("--set", metavar="ID", help="This set; left out: the newest pinned one.")]
SetId = Annotated[str | None, typer.Option("--set", metavar="ID", help="This set; left out: the newest.")]


def list_sets(
    ctx: typer.Context, environment_name: EnvironmentName, database: OneDatabase = None, as_json: AsJson = False
) -> None:
    """The sets, newest first, with what keeps each.

    Told from the store's listing alone. What runs that died have left is shown apart: no such thing is ever restored.
    """
    from jobs.backup.sets.sets import sets
    from jobs.backup.sources import sets_of

    environment = arguments.environment(ctx, environment_name)
    store = arguments.store(environment)
    found = sets_of(environment, store, database) if database else list(sets(store, environment.name))
    found.sort(key=lambda one: one.order, reverse=True)
    found.sort(key=lambda one: one.database)
    kept, now = keeping(environment, found), datetime.now(UTC)
    under_way = running(store, environment.name, found)
    if as_json:
        told = [set_as_json(one, kept.get((one.database, one.id)), running=one.id in under_way) for one in found]
        arguments.print_json({"environment": environment.name, "sets": told})
    else:
        show(environment_name, found, kept, under_way, now)


def keeping(environment: Environment, found: Iterable[Set]) -> dict[tuple[str, str], str]:
    """Why each complete set stays, or that it goes, by the policy of its database."""
    from jobs.backup.sources import knows, source
    from jobs.retention.policy import apply_policy

    by_database: dict[str, list[Set]] = {}
    for one in found:
        if one.complete:
            by_database.setdefault(one.database, []).append(one)
    kept: dict[tuple[str, str], str] = {}
    for database, complete in by_database.items():
        if not knows(environment, database):
            kept |= {(database, one.id): "no longer in the file" for one in complete}
            continue
        policy = source(environment, database)[0].keep
        for decision in apply_policy(complete, policy, datetime.now(environment.timezone)):
            kept[database, decision.set.id] = ", ".join(decision.reasons) or "nothing: goes with the next retention"
    return kept


def running(store: Store, environment: str, found: Iterable[Set]) -> set[str]:
    """The incomplete sets that a live run is writing; only for those is a lock looked at."""
    from jobs.run.lease import holder_from
    from jobs.store import Missing

    under_way: set[str] = set()
    for one in found:
        if one.complete:
            continue
        key = f"{environment}/locks/backup/{one.database}.json"
        try:
            holder = holder_from(key, store.get(key).body)
        except Missing:
            continue
        began = holder.since.replace(microsecond=0)
        if not holder.released and not holder.expired(datetime.now(UTC)) and one.started >= began:
            under_way.add(one.id)
    return under_way


def show(
    name: str, found: Sequence[Set], kept: Mapping[tuple[str, str], str], under_way: set[str], now: datetime
) -> None:
    """Complete sets in a table, what runs now and what died below it."""
    complete = [one for one in found if one.complete]
    if complete:
        header = ("database", "set", "age", "size", "took", "verified", "tags", "kept by")
        output.table([_row(one, kept[one.database, one.id], now) for one in complete], header)
    else:
        output.say(f"{name}: no complete backup sets yet; the first: crew run backup {name}", output.WARN)
    now_running = [one for one in found if one.id in under_way]
    dead = [one for one in found if not one.complete and one.id not in under_way]
    for title, those in (
        ("Being taken now:", now_running),
        ("Left by runs that died (never restored, swept by retention):", dead),
    ):
        if those:
            output.say(f"\n{title}")
            rows = [(one.database, one.id, format_duration(now - one.started), format_size(one.size)) for one in those]
            output.table(rows, indent=2)


def _row(one: Set, kept: str, now: datetime) -> tuple[output.Cell | str, ...]:
    return (
        one.database,
        one.id,
        format_duration(now - one.started),
        format_size(one.size),
        format_duration(one.duration or timedelta()),
        _verification(one, now),
        ", ".join(one.tags),
        output.Cell(kept, output.QUIET if kept.startswith("nothing") else ""),
    )


def _verification(one: Set, now: datetime) -> output.Cell:
    if one.failed_verification and (not one.verified or one.failed_verification > one.verified):
        return output.Cell("VERIFICATION FAILED", output.BAD)
    if one.verified:
        return output.Cell(f"{format_duration(now - one.verified)} ago", output.GOOD)
    return output.Cell("not yet", output.QUIET)


def set_as_json(one: Set, kept: str | None, *, running: bool) -> dict[str, Any]:
    """A set for machines."""
    from jobs.backup.sets.manifest import iso_timestamp

    return {
        "database": one.database,
        "set": one.id,
        "started": iso_timestamp(one.started),
        "state": "complete" if one.complete else "running" if running else "dead",
        "seconds": one.duration.total_seconds() if one.duration else None,
        "stored_bytes": one.size,
        "verified": one.verified and iso_timestamp(one.verified),
        "verification_failed": one.failed_verification and iso_timestamp(one.failed_verification),
        "pinned": one.pinned,
        "tags": list(one.tags),
        "kept_by": kept,
    }


def show_set(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: SetId = None,
    as_json: AsJson = False,
) -> None:
    """One set: what it was made from, its parts, its tables, and what whoever restores it should know."""
    import json

    from jobs.backup.sets.manifest import written

    stored = _open(ctx, environment_name, database, set_id)
    if as_json:
        arguments.print_json({"manifest": json.loads(written(stored.manifest))})
    else:
        describe(stored.manifest)


def describe(manifest: Manifest) -> None:
    """A set on the screen."""
    output.say(f"{manifest.environment}/{manifest.database}, set {manifest.set}")
    output.table(_facts(manifest), indent=2)
    output.say("\nParts")
    header = ("part", "holds", "dumped", "stored", "objects")
    parts = [
        (part.name, part.table or part.kind, format_size(part.dumped), format_size(part.size), str(len(part.pieces)))
        for part in manifest.parts
    ]
    output.table(parts, header, indent=2)
    output.say("\nBiggest tables")
    biggest = sorted(manifest.tables, key=lambda table: -table.bytes)[:10]
    rows = [(f"{t.schema}.{t.name}", "" if t.rows is None else f"{t.rows:,}", format_size(t.bytes)) for t in biggest]
    output.table(rows, ("table", "rows", "size"), indent=2)
    for note in manifest.notes:
        output.say(f"\nNote: {note}", output.WARN)


def _facts(manifest: Manifest) -> list[tuple[str, str]]:
    tables, rows = plural(len(manifest.tables), "table"), manifest.rows
    return [
        ("taken", f"{manifest.started:%Y-%m-%d %H:%M:%S} UTC, in {format_duration(manifest.ended - manifest.started)}"),
        ("from", f"PostgreSQL {manifest.server.version}{', a standby' if manifest.server.standby else ''}"),
        ("with", ", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
        ("size", f"{format_size(manifest.dumped_bytes)} dumped, {format_size(manifest.stored_bytes)} stored"),
        ("holds", f"{tables}, {f'{rows:,} rows' if rows is not None else 'rows not counted'}"),
        ("sealed", f"to {', '.join(manifest.recipients)}" if manifest.encrypted else "not encrypted"),
        ("tags", ", ".join(manifest.tags) or "none"),
        ("run", manifest.run),
    ]


def fetch_part(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    part: Annotated[str, typer.Argument(metavar="PART", help="defs, data-1, …, rest or roles; see crew backups show.")],
    set_id: SetId = None,
    to: Annotated[
        str | None, typer.Option(metavar="FILE", help="Where to; - is stdout. Left out: a file here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """One part, decrypted and decompressed, checked against its hash."""
    from jobs.backup.sets.fetch import STDOUT, fetch, file_for, part_named
    from jobs.run import unrecorded_run

    stored = _open(ctx, environment_name, database, set_id)
    wanted = part_named(stored, part)
    environment = arguments.environment(ctx, environment_name)
    with unrecorded_run(environment, stored.store, "fetch", database) as run:
        fetched = fetch(stored, wanted, to, run.check)
    written = to or str(file_for(stored, wanted))
    if as_json and written != STDOUT:
        arguments.print_json({"set": stored.manifest.set, "part": part, "file": written, "bytes": fetched})
    elif written != STDOUT:
        output.say(f"{written}: {format_size(fetched)}, as it was dumped", output.GOOD)


def pin(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: SetId = None,
    as_json: AsJson = False,
) -> None:
    """Keep a set whatever the policy says."""
    from jobs.backup.sets import choose_set
    from jobs.backup.sets.sets import PIN

    found, store = _sets(ctx, environment_name, database)
    pinned = choose_set.chosen(found, database, set_id)
    store.put(pinned.prefix + PIN, b"")
    if as_json:
        arguments.print_json({"database": database, "set": pinned.id, "pinned": True})
    else:
        output.say(f"{database} {pinned.id} is pinned: no policy removes it", output.GOOD)


def unpin(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: PinnedId = None,
    as_json: AsJson = False,
) -> None:
    """Leave a set to the policy again."""
    from jobs.backup.errors import BackupError
    from jobs.backup.sets import choose_set
    from jobs.backup.sets.sets import PIN

    found, store = _sets(ctx, environment_name, database, job="retention")
    pinned = [one for one in found if one.pinned]
    if not pinned:
        raise BackupError(f"{database} has no pinned set")
    unpinned = choose_set.chosen(pinned, database, set_id)
    for refused in store.delete([unpinned.prefix + PIN]):
        raise BackupError(f"{database} {unpinned.id} stays pinned: {refused.why}")
    if as_json:
        arguments.print_json({"database": database, "set": unpinned.id, "pinned": False})
    else:
        output.say(f"{database} {unpinned.id} is left to the policy", output.GOOD)


def _sets(ctx: typer.Context, environment_name: str, database: str, job: str | None = None) -> tuple[list[Set], Store]:
    from jobs.backup.sources import sets_of

    environment = arguments.environment(ctx, environment_name)
    store = arguments.store(environment, job)
    return sets_of(environment, store, database), store


def _open(ctx: typer.Context, environment_name: str, database: str, set_id: str | None) -> StoredSet:
    from jobs.backup.sets.choose_set import chosen
    from jobs.backup.sets.stored import opened

    found, store = _sets(ctx, environment_name, database)
    settings = arguments.environment(ctx, environment_name).store
    return opened(store, chosen(found, database, set_id), settings.decrypt_with if settings else None)
