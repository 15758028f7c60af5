"""`crew backups list, show, fetch, pin, unpin`: the backup sets in the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import (
    AsJson,
    DatabaseName,
    EnvironmentName,
    FromCopy,
    OptionalDatabase,
    SetId,
    StoreAsOf,
    TrustUnsigned,
    WrongUsage,
    named_set,
)
from jobs.cli.stanzas import ListedStanza, listed_stanzas, print_stanzas, stanza_as_json
from jobs.format import format_duration, format_size, format_time, plural

if TYPE_CHECKING:
    from inventories import Environment, Keep
    from jobs.backup import Description, Set, StoredSet
    from jobs.store import Store

NEWEST_SHOWN = 3
_READERS = 8
_TABLES_SHOWN = 10
NOT_KEPT = "no rule; removed by the next retention run"
NOT_KEPT_BUT_LOCKED = "no rule; removed when its lock ends"
DATED_AHEAD = "dated in the future: ignored; to remove it: crew backups prune --set"

PinnedSetId = Annotated[
    str | None,
    typer.Option(
        "--set", metavar="ID", help="Backup set: its ID or the ID's last four characters (default: newest pinned)."
    ),
]


DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="DATABASE",
        help="Database, as an option instead of the argument.",
        autocompletion=arguments.complete_database,
    ),
]
AsStrip = Annotated[bool, typer.Option("--strip", help="Show a mark for each of the last 90 days instead of the sets.")]


def list_sets_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: OptionalDatabase = None,
    database_option: DatabaseOption = None,
    all_sets: Annotated[
        bool, typer.Option("--all", help="List all sets of all databases, not only the newest 3 of each.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help="Sets to list of each database (default: 3)."),
    ] = None,
    from_copy: FromCopy = None,
    store_as_of: StoreAsOf = None,
    strip: AsStrip = False,
    as_json: AsJson = False,
) -> None:
    """List backup sets, and which retention rules keep each set.

    Newest first: the newest 3 of each database, or all of the named database. The databases of a server are grouped
    under its name. Times are in the environment's timezone. Reads only the store's listing. Untrusted and incomplete
    sets follow, then what the stanzas of [pitr] can restore.
    """
    from jobs.backup import databases_with_sets

    database = _one_database(database, database_option)
    environment = arguments.open_environment(ctx, environment_name)
    if strip:
        _show_strips(environment, database, all_sets or limit or from_copy or store_as_of, as_json=as_json)
        return
    store, now = arguments.sets_store(environment, from_copy, as_of=store_as_of), datetime.now(UTC)
    keep = environment.copies[from_copy].keep if from_copy else None
    if all_sets or (database and limit is None):
        listed, kept_by, left_out = *_all_sets(environment, store, database, keep), False
    else:
        names = [database] if database else databases_with_sets(environment, store)
        listed, kept_by, left_out = _newest_of_each(environment, store, now, names, limit or NEWEST_SHOWN, keep)
    _sort_for_table(listed)
    being_written = sets_being_written(store, environment.name, listed)
    stanzas = [] if database or from_copy or store_as_of else listed_stanzas(environment, store)
    only_stanzas = bool(stanzas) and not {**environment.databases, **environment.servers}
    has_sets = only_stanzas or any(each.complete for each in listed)
    note = "" if has_sets else why_no_sets(environment, store, database, from_copy)
    if as_json:
        _print_document(environment.name, listed, kept_by, being_written, stanzas, note)
        return
    if note:
        output.say(f"{environment.name}: {note}", output.WARN)
    print_sets(listed, kept_by, being_written, now, environment.timezone)
    if left_out:
        _say_that_sets_are_hidden(limit or NEWEST_SHOWN)
    if stanzas:
        print_stanzas(stanzas, now, environment.timezone, below=bool(listed or note))


def _say_that_sets_are_hidden(shown: int) -> None:
    output.say(f"The newest {shown} of each database; to list all: --all, or name a database", output.QUIET)


def _print_document(
    environment: str,
    listed: Sequence[Set],
    kept_by: Mapping[tuple[str, str], str],
    being_written: set[str],
    stanzas: Sequence[ListedStanza],
    note: str,
) -> None:
    output.print_json(
        {
            "environment": environment,
            "sets": [
                backup_set_as_json(each, kept_by.get((each.database, each.id)), running=each.id in being_written)
                for each in listed
            ],
            **({"pitr": [stanza_as_json(each) for each in stanzas]} if stanzas else {}),
            **({"note": note} if note else {}),
        }
    )


def _sort_for_table(listed: list[Set]) -> None:
    """Sort sets by server and database, and the newest first within a database."""
    from jobs.backup import server_of

    listed.sort(key=lambda each: each.sort_key, reverse=True)
    listed.sort(key=lambda each: (server_of(each.database) or "", each.database))


def _show_strips(environment: Environment, database: str | None, selects_sets: object, *, as_json: bool) -> None:
    """Print a mark for each of the last days; WrongUsage with an option that selects sets."""
    from jobs.cli.strips import print_strips

    if selects_sets:
        raise WrongUsage("--strip shows days of backups here; omit --all, --limit, --from and --store-as-of")
    print_strips(environment, database, as_json=as_json)


def _all_sets(
    environment: Environment, store: Store, database: str | None, keep: Keep | None
) -> tuple[list[Set], dict[tuple[str, str], str]]:
    """Return all sets, of one database or of all, and why each is kept."""
    from jobs.backup import find_sets, sets_of

    listed = sets_of(environment, store, database) if database else list(find_sets(store, environment))
    return listed, retention_reasons(environment, listed, keep)


def _one_database(argument: str | None, option: str | None) -> str | None:
    if argument and option and argument != option:
        raise WrongUsage(f"{argument} and --database {option} name two databases; name one of them")
    return argument or option


def _newest_of_each(
    environment: Environment, store: Store, now: datetime, names: Sequence[str], limit: int, keep: Keep | None
) -> tuple[list[Set], dict[tuple[str, str], str], bool]:
    """Return the newest sets of each database, why each is kept, and whether there can be older ones.

    That is known only if all sets of the database were listed, since some rules keep the oldest set.
    """
    from concurrent.futures import ThreadPoolExecutor

    from jobs.backup import NewestSets, find_newest_sets, trust_of

    trust = trust_of(environment)

    def newest(database: str) -> NewestSets:
        return find_newest_sets(store, environment.name, database, now, lambda sets: len(sets) >= limit, trust=trust)

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(newest, names))
    kept_by = retention_reasons(environment, [each for of in found if of.are_all for each in of.sets], keep)
    shown: list[Set] = []
    left_out = False
    for of_database in found:
        complete = [each for each in of_database.sets if each.complete and each.untrusted is None]
        complete.sort(key=lambda each: each.sort_key)
        shown += complete[-limit:]
        shown += (each for each in of_database.sets if not each.complete or each.untrusted is not None)
        left_out = left_out or not of_database.are_all or len(complete) > limit
    return shown, kept_by, left_out


def why_no_sets(environment: Environment, store: Store, database: str | None, copy: str | None = None) -> str:
    """Return why the list is empty: another name, or no backup or copy yet."""
    from jobs.backup import databases_with_sets
    from jobs.format import and_more

    with_sets = databases_with_sets(environment, store)
    if database is not None and with_sets:
        return f"{database} has no complete backup sets. Databases with sets: {and_more(with_sets, 5)}."
    if copy is not None:
        return f"no complete backup sets in {copy} yet. To copy them: crew run copy {environment.name} --only {copy}"
    return f"no complete backup sets yet. To take the first: crew run backup {environment.name}"


def retention_reasons(
    environment: Environment, listed: Iterable[Set], keep: Keep | None = None
) -> dict[tuple[str, str], str]:
    """Return why the policy of its database, or `keep`, keeps each complete set, or that it will be removed."""
    from jobs.backup import is_dated_ahead, is_known, section_of
    from jobs.retention.policy import apply_policy

    now = datetime.now(environment.timezone)
    not_kept = NOT_KEPT_BUT_LOCKED if environment.store and environment.store.lock else NOT_KEPT
    by_database: dict[str, list[Set]] = {}
    for each in listed:
        if each.complete:
            by_database.setdefault(each.database, []).append(each)
    reasons: dict[tuple[str, str], str] = {}
    for database, complete in by_database.items():
        if keep is None and not is_known(environment, database):
            reasons |= {(database, each.id): "database no longer in the file" for each in complete}
            continue
        policy = keep if keep is not None else section_of(environment, database)[0].keep
        reasons |= {(database, each.id): DATED_AHEAD for each in complete if is_dated_ahead(each, now)}
        not_ahead = [each for each in complete if not is_dated_ahead(each, now)]
        for decision in apply_policy(not_ahead, policy, now):
            reasons[database, decision.set.id] = ", ".join(decision.reasons) or not_kept
    return reasons


def sets_being_written(store: Store, environment: str, listed: Iterable[Set]) -> set[str]:
    """Return the IDs of incomplete sets that a running backup writes; read a lock only if there is such a set."""
    from jobs.run.lease import read_holder

    being_written: set[str] = set()
    for each in listed:
        if each.complete:
            continue
        holder = read_holder(store, environment, "backup", each.database)
        if holder is None or holder.released:
            continue
        began = holder.since.replace(microsecond=0)
        if not holder.expired(datetime.now(UTC)) and each.started >= began:
            being_written.add(each.id)
    return being_written


def print_sets(
    listed: Sequence[Set],
    kept_by: Mapping[tuple[str, str], str],
    being_written: set[str],
    now: datetime,
    zone: tzinfo,
) -> None:
    """Print complete sets as a table, by server; below it sets that are being written, and those of failed runs."""
    from jobs.backup import by_server

    complete = [each for each in listed if each.complete and each.untrusted is None]
    if complete:
        header = ("database", "set", "taken", "size", "took", "verified", "tags", "kept by")
        rows: list[Sequence[output.Cell | str]] = []
        for server, of_server in by_server(complete, lambda each: each.database):
            if server:
                databases = plural(len({each.database for each in of_server}), "database")
                rows.append([output.Cell(f"server {server}: {databases}", output.HEADING)])
            rows += (_row(each, kept_by.get((each.database, each.id), ""), now, zone) for each in of_server)
        output.table(rows, header)
    untrusted = [each for each in listed if each.complete and each.untrusted is not None]
    if untrusted:
        output.say("")
        output.say("Not trusted, and used only with --trust-unsigned:", output.WARN)
        output.table([_untrusted_row(each, now, zone) for each in untrusted], indent=2)
    in_progress = [each for each in listed if each.id in being_written]
    others = [each for each in listed if not each.complete and each.id not in being_written]
    dead = [each for each in others if not each.lost_manifest]
    lost = [each for each in others if each.lost_manifest]
    for title, incomplete in (
        ("In progress:", in_progress),
        ("Incomplete, left by failed runs (retention removes them):", dead),
        ("Were complete, but their manifest or signature is gone (to remove one: crew backups prune --set):", lost),
    ):
        if incomplete:
            output.say("")
            output.say(title)
            output.table(
                [
                    (each.database, each.id, format_duration(now - each.started), format_size(each.size))
                    for each in incomplete
                ],
                indent=2,
            )


def _row(backup_set: Set, kept_by: str, now: datetime, zone: tzinfo) -> tuple[output.Cell | str, ...]:
    return (
        backup_set.database,
        backup_set.id,
        _taken(backup_set, now, zone),
        format_size(backup_set.size),
        format_duration(backup_set.duration or timedelta()),
        _verification(backup_set, now),
        ", ".join(backup_set.tags),
        output.Cell(kept_by, output.QUIET if kept_by in (NOT_KEPT, NOT_KEPT_BUT_LOCKED) else ""),
    )


def _untrusted_row(backup_set: Set, now: datetime, zone: tzinfo) -> tuple[str, ...]:
    taken, size = _taken(backup_set, now, zone), format_size(backup_set.size)
    return backup_set.database, backup_set.id, taken, size, str(backup_set.untrusted)


def _taken(backup_set: Set, now: datetime, zone: tzinfo) -> str:
    """Return when a set was started, and how long ago."""
    ago = "in the future" if backup_set.started > now else format_duration(now - backup_set.started)
    return f"{format_time(backup_set.started, now, zone)} ({ago})"


def _verification(backup_set: Set, now: datetime) -> output.Cell:
    newest = backup_set.results[0] if backup_set.results else None
    is_unsigned = newest is not None and not backup_set.trusts_result(newest)
    unsigned = f" (unsigned: {'failed' if newest.failed else 'passed'})" if newest and is_unsigned else ""
    if backup_set.has_failed:
        return output.Cell(f"VERIFICATION FAILED{unsigned}", output.BAD)
    if backup_set.verified:
        return output.Cell(f"{format_duration(now - backup_set.verified)} ago{unsigned}", output.GOOD)
    return output.Cell(f"not yet{unsigned}", output.QUIET)


def backup_set_as_json(backup_set: Set, kept_by: str | None, *, running: bool) -> dict[str, Any]:
    """Return a backup set for --json."""
    from jobs.backup import iso_timestamp

    failed, verified = backup_set.failed_verification, backup_set.verified
    untrusted = backup_set.untrusted if backup_set.complete else None
    state = "untrusted" if untrusted is not None else "complete" if backup_set.complete else "incomplete"
    return {
        "database": backup_set.database,
        "set": backup_set.id,
        "started": iso_timestamp(backup_set.started),
        "state": "running" if running else state,
        "untrusted": untrusted,
        "seconds": backup_set.duration.total_seconds() if backup_set.duration else None,
        "stored_bytes": backup_set.size,
        "verified": verified and iso_timestamp(verified),
        "verification_failed": failed and iso_timestamp(failed),
        "untrusted_results": [
            {"at": iso_timestamp(result.at), "outcome": "failed" if result.failed else "passed"}
            for result in backup_set.results
            if not backup_set.trusts_result(result)
        ],
        "pinned": backup_set.pinned,
        "tags": list(backup_set.tags),
        "kept_by": kept_by,
    }


def show_set_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: SetId = None,
    all_tables: Annotated[bool, typer.Option("--all", help="List all tables, not only the largest 10.")] = False,
    from_copy: FromCopy = None,
    store_as_of: StoreAsOf = None,
    as_json: AsJson = False,
) -> None:
    """Show one backup set: its source, parts, tables and notes."""
    import json

    from jobs.backup import BackupError, encode_description, encode_manifest

    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.sets_store(environment, from_copy, as_of=store_as_of)
    stored = _open_set(environment, store, database, set_id, trust_unsigned=True)
    description, hidden = None, None
    try:
        if stored.untrusted:  # nobody vouches for what it unpacks to
            hidden = "the set is not trusted"
        else:
            description = stored.description
    except BackupError as error:  # most often without the secret key
        hidden = str(error)
    if as_json:
        described = json.loads(encode_description(description)) if description else None
        manifest = json.loads(encode_manifest(stored.manifest))
        signed = {"signed_by": stored.signer.fingerprint if stored.signer else None, "untrusted": stored.untrusted}
        output.print_json({"manifest": manifest, **signed, "description": described, "hidden": hidden})
        return
    print_set(stored, description, tables_shown=None if all_tables else _TABLES_SHOWN)
    if hidden:
        output.say("")
        output.say(f"Not shown: tables, rows and notes, because {hidden}", output.WARN)


def print_set(stored: StoredSet, description: Description | None, *, tables_shown: int | None = _TABLES_SHOWN) -> None:
    """Print the manifest of a backup set and, if it could be decrypted, the description of its database."""
    manifest = stored.manifest
    output.say(f"{manifest.environment}/{manifest.database}, set {manifest.set}")
    output.table(_facts(stored, description), indent=2)
    output.say("")
    output.say("Parts")
    header = ("part", "content", "dumped", "stored", "objects")
    tables = description.table_parts if description else {}
    parts = [
        (
            part.name,
            tables.get(part.name, part.kind),
            format_size(part.dumped),
            format_size(part.size),
            str(len(part.pieces)),
        )
        for part in manifest.parts
    ]
    output.table(parts, header, indent=2)
    if description is not None:
        _print_tables(description, tables_shown)


def _print_tables(description: Description, shown: int | None) -> None:
    largest = sorted(description.tables, key=lambda table: -table.bytes)[:shown]
    more = len(description.tables) - len(largest)
    output.say("")
    output.say("Largest tables" if more else "Tables, largest first")
    rows = [(f"{t.schema}.{t.name}", "" if t.rows is None else f"{t.rows:,}", format_size(t.bytes)) for t in largest]
    output.table(rows, ("table", "rows", "size"), indent=2)
    if more:
        output.say(f"  and {plural(more, 'more table')}; to list all: --all", output.QUIET)
    for note in description.notes:
        output.say("")
        output.say(f"Note: {note}", output.WARN)


def _facts(stored: StoredSet, description: Description | None) -> list[tuple[str, str]]:
    manifest = stored.manifest
    return [
        ("taken", f"{manifest.started:%Y-%m-%d %H:%M:%S} UTC, in {format_duration(manifest.ended - manifest.started)}"),
        ("source", f"PostgreSQL {manifest.server.version}{', a standby' if manifest.server.standby else ''}"),
        ("programs", ", ".join(f"{name} {version}" for name, version in manifest.tools.items())),
        ("size", f"{format_size(manifest.dumped_bytes)} dumped, {format_size(manifest.stored_bytes)} stored"),
        *([("content", _content(description))] if description else []),
        ("encrypted", f"to {', '.join(manifest.recipients)}" if manifest.encrypted else "no"),
        ("signed", f"by {stored.signer}" if stored.signer else "no"),
        ("tags", ", ".join(manifest.tags) or "none"),
        ("run", manifest.run),
    ]


def _content(description: Description) -> str:
    rows = plural(description.rows, "row") if description.rows is not None else "rows not counted"
    return f"{plural(len(description.tables), 'table')}, {rows}"


def fetch_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    part: Annotated[
        str, typer.Argument(metavar="PART", help="Part: defs, rows-1-1, …, rest or roles (see: crew backups show).")
    ],
    set_id: SetId = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="File to write, or - for stdout (default: a new file in this directory)."),
    ] = None,
    trust_unsigned: TrustUnsigned = None,
    from_copy: FromCopy = None,
    store_as_of: StoreAsOf = None,
    as_json: AsJson = False,
) -> None:
    """Download one part of a backup set.

    Decrypts and decompresses the part and checks its hash. Never overwrites a file. Delete the file when you no longer
    need it, because it is not encrypted. defs and rest are archives for pg_restore, roles is an SQL script, and rows-…
    are scripts for psql.
    """
    from jobs.backup import STDOUT, default_file, find_part, noted_as_in_use, write_part
    from jobs.run import unrecorded_run

    if as_json and to == STDOUT:
        raise WrongUsage("--json and --to - both write to stdout; name a file with --to, or omit --json")
    set_id = named_set(set_id, trust_unsigned)
    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.sets_store(environment, from_copy, as_of=store_as_of)
    stored = _open_set(environment, store, database, set_id, trust_unsigned=trust_unsigned is not None)
    selected = find_part(stored, part)
    with unrecorded_run(environment, stored.store, "fetch", database) as run, noted_as_in_use(stored, run):
        size = write_part(stored, selected, to, run.check)
    file = to or str(default_file(stored, selected))
    if file != STDOUT and stored.manifest.encrypted:
        output.print_warnings([f"{file} is not encrypted; delete it when you no longer need it"])
    if as_json and file != STDOUT:
        output.print_json({"set": stored.manifest.set, "part": part, "file": file, "bytes": size})
    elif file != STDOUT:
        output.say(f"wrote {file}: {format_size(size)}, decrypted and decompressed", output.GOOD)


def pin_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: SetId = None,
    from_copy: FromCopy = None,
    as_json: AsJson = False,
) -> None:
    """Pin a backup set, so that retention never removes it. Pins of a copy are its own."""
    from jobs.backup import PIN, choose_set, warnings_on_choice
    from jobs.run import recorded, unrecorded_run

    stored_sets, store = _sets_and_store(ctx, environment_name, database, copy=from_copy)
    now = datetime.now(UTC)
    selected = choose_set(stored_sets, database, set_id, now=now)
    output.print_warnings(warnings_on_choice(stored_sets, selected, set_id, now=now))
    environment = arguments.open_environment(ctx, environment_name)
    with (
        unrecorded_run(environment, store, "pin", database) as run,
        recorded(run, "pin", database, f"set {selected.id}", lasting=False),
    ):
        store.put(selected.prefix + PIN, b"")
    _print_pinned(selected, pinned=True, as_json=as_json)


def unpin_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    set_id: PinnedSetId = None,
    from_copy: FromCopy = None,
    as_json: AsJson = False,
) -> None:
    """Unpin a backup set, so that retention can remove it."""
    from jobs.backup import PIN, BackupError, choose_set, find_by_id
    from jobs.run import recorded, unrecorded_run

    stored_sets, store = _sets_and_store(ctx, environment_name, database, "retention", from_copy)
    pinned = [each for each in stored_sets if each.pinned]
    if not pinned:
        raise BackupError(f"{database}: there is no pinned backup set")
    named = find_by_id(pinned, database, set_id) if set_id is not None else None  # it can have lost its manifest
    selected = named or choose_set(pinned, database, set_id, any_complete=True)
    environment = arguments.open_environment(ctx, environment_name)
    with (
        unrecorded_run(environment, store, "unpin", database) as run,
        recorded(run, "unpin", database, f"set {selected.id}", lasting=False),
    ):
        for refused in store.delete([selected.prefix + PIN]):
            raise BackupError(f"{database}: cannot unpin backup set {selected.id}: {refused.why}")
    _print_pinned(selected, pinned=False, as_json=as_json)


def _print_pinned(changed: Set, *, pinned: bool, as_json: bool) -> None:
    if as_json:
        output.print_json({"database": changed.database, "set": changed.id, "pinned": pinned})
    elif pinned:
        output.say(f"{changed.database} {changed.id} is pinned: retention never removes it", output.GOOD)
    else:
        output.say(f"{changed.database} {changed.id} is unpinned: the retention policy applies again", output.GOOD)


def _sets_and_store(
    ctx: typer.Context, environment_name: str, database: str, job: str | None = None, copy: str | None = None
) -> tuple[list[Set], Store]:
    from jobs.backup import sets_of

    environment = arguments.open_environment(ctx, environment_name)
    store = arguments.sets_store(environment, copy, job)
    return sets_of(environment, store, database), store


def _open_set(
    environment: Environment, store: Store, database: str, set_id: str | None, *, trust_unsigned: bool
) -> StoredSet:
    from jobs.backup import choose_set, open_set, sets_of, warnings_on_choice

    stored_sets = sets_of(environment, store, database)
    settings, now = environment.store, datetime.now(UTC)
    selected = choose_set(stored_sets, database, set_id, now=now)
    output.print_warnings(warnings_on_choice(stored_sets, selected, set_id, now=now))
    decrypt_with = settings.decrypt_with if settings else None
    stored = open_set(store, selected, decrypt_with, trust_unsigned=trust_unsigned)
    output.print_warnings(stored.warnings)
    return stored
