"""`crew backups restore` and `crew backups verify`: restore a backup set, or verify it by restoring it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output, prompts
from jobs.cli.arguments import (
    AsJson,
    DatabaseName,
    DryRun,
    EnvironmentName,
    FromCopy,
    OptionalDatabase,
    SetId,
    StoreAsOf,
    TrustUnsigned,
    WrongUsage,
    YesTo,
    named_set,
)
from jobs.format import format_duration, format_time, plural

if TYPE_CHECKING:
    from inventories import Environment, Secret, TunnelSettings
    from jobs.backup import (
        Address,
        ChosenOwner,
        Difference,
        Endpoint,
        OrdinaryRole,
        Restored,
        RestoreMode,
        RestorePlan,
        RestoreTarget,
        Set,
        SideTable,
        StoredSet,
    )
    from jobs.run.context import RunContext
    from jobs.run.job import Run
    from jobs.run.record import Record
    from jobs.store import Store

SetToVerify = Annotated[
    str | None,
    typer.Option(
        "--set", metavar="ID", help="Backup set: its ID or the ID's last four characters (default: newest unverified)."
    ),
]


Into = Annotated[str, typer.Option(metavar="URL", help="Target database: postgresql://user@host:5432/database.")]
Before = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Use the newest set from before this time: 2026-11-20, 02:00, or 2026-11-20T02:00+01:00.",
    ),
]
Create = Annotated[
    bool, typer.Option("--create", help="Create the target database, with the original locale and settings.")
]
Replaces = Annotated[
    bool,
    typer.Option("--replace", help="Restore into a new database, verify it, swap the names, and keep the old one."),
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--tables", metavar="TABLE", help="Restore only this table (schema.table or table); can be repeated."),
]
AsTable = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="With one --tables TABLE: restore its rows into a new table of this name, beside the live one.",
    ),
]
Parallel = Annotated[
    int | None,
    typer.Option(metavar="N", min=1, max=64, help="Number of parallel streams (default: one more than the backup's)."),
]
PasswordFrom = Annotated[
    str | None,
    typer.Option(
        metavar="SECRET",
        help="Password: env:NAME, file:PATH or command:LINE (default: that of the same server and user in the "
        "environment file, else as psql finds it).",
    ),
]
AsRole = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="ROLE",
        help="If a superuser restores: role that owns everything afterwards. Functions of the set run without "
        "superuser rights, unless ROLE is this superuser (default: the owner of the database).",
    ),
]
AsRolePasswordFrom = Annotated[
    str | None,
    typer.Option(
        "--as-password-from",
        metavar="SECRET",
        help="Password of the role of --as, like --password-from. It then logs in itself, instead of a temporary role.",
    ),
]
Via = Annotated[
    str | None, typer.Option(metavar="TUNNEL", help="Connect through ssh=HOST or kubernetes=NAMESPACE/KIND/NAME.")
]


def restore_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: DatabaseName,
    into: Into,
    set_id: SetId = None,
    before: Before = None,
    create: Create = False,
    replaces: Replaces = False,
    tables: Tables = None,
    as_table: AsTable = None,
    parallel: Parallel = None,
    password_from: PasswordFrom = None,
    role: AsRole = None,
    role_password_from: AsRolePasswordFrom = None,
    via: Via = None,
    trust_unsigned: TrustUnsigned = None,
    from_copy: FromCopy = None,
    store_as_of: StoreAsOf = None,
    yes_to: YesTo = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Restore a backup set into a database.

    Restores the newest set that is signed by a trusted key and has not failed verification. --before selects an older
    set, --set any signed set, even one that failed verification. The target must be an empty database. Use --create to
    create it, --replace to replace a database that is not empty, or --tables to add tables to one. --as-table restores
    the rows of one table beside the live one, without constraints. The restore checks the hash of every piece.

    PostgreSQL executes functions of the set while it restores it: in check constraints, indexes and generated columns.
    If a superuser restores the database of another role, a temporary role without rights executes them.
    """
    from jobs.run import unrecorded_run

    _check_restore_options(tables or (), as_table, role, role_password_from)
    environment = arguments.open_environment(ctx, environment_name)
    selection = _select(environment, database, set_id, before, trust_unsigned, from_copy, store_as_of)
    address = _address(environment, into, password_from, via)
    wanted = _Wanted(
        create=create, replaces=replaces, tables=tuple(tables or ()), as_table=as_table, parallel=parallel, role=role,
        role_password_from=role_password_from, yes_to=yes_to, dry_run=dry_run, as_json=as_json,
    )  # fmt: skip
    records = selection.store if store_as_of is None else arguments.unmarked_store(environment)
    with unrecorded_run(environment, records, "restore", database) as run, _connected(run, address) as endpoint:
        selected, stored = selection.open()
        output.print_warnings(stored.warnings)
        _restore(ctx, run, endpoint, selected, stored, wanted)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What a person wants to restore, and how."""

    create: bool
    replaces: bool
    tables: Sequence[str]
    as_table: str | None
    parallel: int | None
    role: str | None
    role_password_from: str | None
    yes_to: str | None
    dry_run: bool
    as_json: bool


def _restore(
    ctx: typer.Context, run: RunContext, endpoint: Endpoint, selected: Set, stored: StoredSet, wanted: _Wanted
) -> None:
    """Restore a set into the connected database as wanted, or print what that would do."""
    from jobs.backup import choose_mode, inspect_target, plan_restore, restore_set, restore_side_table, restore_streams
    from jobs.run import recorded

    started, environment, database = time.monotonic(), run.environment, run.subject
    tables, as_table, dry_run, as_json = wanted.tables, wanted.as_table, wanted.dry_run, wanted.as_json
    target = inspect_target(endpoint)
    mode = choose_mode(target, create=wanted.create, replaces=wanted.replaces, only_tables=bool(tables))
    adds = mode.adds or bool(as_table)
    ordinary, owner = _roles(run, stored, endpoint, target, wanted.role, wanted.role_password_from, adds=adds)
    _confirm(ctx, run, endpoint, target, mode, wanted)
    streams = wanted.parallel or restore_streams(environment, database)
    into_name = _target_name(endpoint)
    if as_table:
        subject = f"rows of {tables[0]}, set {selected.id}, into {into_name}"
        with nullcontext() if dry_run else recorded(run, "restore", database, subject):
            side = restore_side_table(
                stored, endpoint, target, run,
                streams=streams, table=tables[0], as_table=as_table, owner=owner, dry_run=dry_run,
            )  # fmt: skip
        _print_side_table(environment, selected, stored, endpoint, side, dry_run=dry_run, as_json=as_json)
        return
    if dry_run:
        plan = plan_restore(stored, endpoint, target, run, mode, tables=tables, role=ordinary, owner=owner)
        runs_as = wanted.role or (owner.name if owner else target.user)
        _print_plan(
            environment, selected, stored, endpoint, mode, plan, runs_as, temporary=bool(owner), as_json=as_json
        )
        return
    with recorded(run, "restore", database, f"set {selected.id} into {into_name} ({mode.value})"):
        restored = restore_set(
            stored, endpoint, target, run, mode,
            streams=streams, tables=tables, role=ordinary, owner=owner,
        )  # fmt: skip
    took = timedelta(seconds=time.monotonic() - started)
    _print_restored(environment, selected, stored, restored, took, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Selection:
    """The set to restore, and where it lies."""

    environment: Environment
    store: Store
    sets: Sequence[Set]
    chosen: Set
    is_named: bool
    trust_unsigned: bool
    now: datetime

    def open(self) -> tuple[Set, StoredSet]:
        """Open the set that was named, or the newest one that is whole."""
        from jobs.backup import chosen_and_older

        if self.is_named:
            return self.chosen, _open_named(
                self.environment, self.store, self.chosen, trust_unsigned=self.trust_unsigned
            )
        return _open_newest(self.environment, self.store, chosen_and_older(self.sets, self.chosen, self.now))


def _select(
    environment: Environment,
    database: str,
    set_id: str | None,
    before: str | None,
    trust_unsigned: str | None,
    from_copy: str | None,
    store_as_of: str | None,
) -> _Selection:
    """Select a set by the options of a restore, and print what to know about the choice."""
    from jobs.backup import choose_set, parse_time, sets_of, warnings_on_choice

    now = datetime.now(UTC)
    until = parse_time(before, environment.timezone, now) if before is not None else None
    set_id = named_set(set_id, trust_unsigned)
    with _hinting_at_copies(environment, database, from_copy):
        store = arguments.sets_store(environment, from_copy, as_of=store_as_of)
        sets = sets_of(environment, store, database)
        chosen = choose_set(sets, database, set_id, until, now=now)
    output.print_warnings(warnings_on_choice(sets, chosen, set_id, until, now=now))
    return _Selection(environment, store, sets, chosen, set_id is not None, trust_unsigned is not None, now)


def _address(environment: Environment, into: str, password_from: str | None, via: str | None) -> Address:
    """Return the address of the target, with the password of the environment's file if none is given."""
    from jobs.backup import Address, password_in_file

    tunnel, password = _tunnel(via), _secret(password_from)
    return Address(_hide_password(into), password or (None if via else password_in_file(environment, into)), tunnel)


@contextmanager
def _hinting_at_copies(environment: Environment, database: str, from_copy: str | None) -> Iterator[None]:
    """Say which copies have sets of the database, if the store cannot be read or has none."""
    from jobs.backup import BackupError
    from jobs.store import StoreError

    try:
        yield
    except (StoreError, BackupError):
        if from_copy is None:
            output.print_warnings([_sets_in_copy(environment, name, database) for name in environment.copies])
        raise


def _sets_in_copy(environment: Environment, name: str, database: str) -> str:
    """Return the newest set of a database in a copy and how to restore it, or why there is none."""
    from inventories import CrewError
    from jobs.backup import choose_set, sets_of

    now = datetime.now(UTC)
    try:
        newest = choose_set(sets_of(environment, arguments.sets_store(environment, name), database), database, now=now)
    except CrewError as error:
        return f"copy {name} has no set to restore: {error}"
    taken = format_time(newest.started, now, environment.timezone)
    return f"copy {name} has set {newest.id}, taken {taken}; to restore it, add: --from {name}"


def _check_restore_options(
    tables: Sequence[str], as_table: str | None, role: str | None, role_password_from: str | None
) -> None:
    """Raise if options of a restore exclude each other."""
    if as_table and len(tables) != 1:
        raise WrongUsage("--as-table names one new table, so it needs exactly one --tables TABLE")
    if role_password_from is not None and tables:
        raise WrongUsage(
            "--as-password-from does not work with --tables; omit it: a temporary role restores the tables"
        )
    if not role and role_password_from is not None:
        raise WrongUsage("--as-password-from is the password of --as ROLE, which is missing")


def _open_newest(environment: Environment, store: Store, choices: Iterable[Set]) -> tuple[Set, StoredSet]:
    """Open the first of the sets that is whole, and print warnings about those before it."""
    from jobs.backup import open_first, require_original_place

    settings = environment.store
    selected, stored, warnings = open_first(store, choices, settings.decrypt_with if settings else None)
    output.print_warnings(warnings)
    require_original_place(stored)
    return selected, stored


def _open_named(environment: Environment, store: Store, named: Set, *, trust_unsigned: bool) -> StoredSet:
    """Open a set that a person named, if it has all its pieces."""
    from jobs.backup import open_set, require_pieces

    settings = environment.store
    stored = open_set(store, named, settings.decrypt_with if settings else None, trust_unsigned=trust_unsigned)
    require_pieces(stored)
    return stored


def _target_name(endpoint: Endpoint) -> str:
    """Return the host and the name of a database, as run records name it."""
    return f"{endpoint.parameters.get('host', 'localhost')}/{endpoint.database}"


def _hide_password(url: str) -> str:
    """Return the URL, and register a password in it so that no output shows it."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    from inventories import hide

    try:
        parameters = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise WrongUsage(f"--into: {str(error).strip()}; expected postgresql://user@host:5432/database") from None
    if parameters.get("password"):
        hide(str(parameters["password"]))
    if not parameters.get("dbname"):
        raise WrongUsage("--into: the database name is missing; expected postgresql://user@host:5432/database")
    return url


def _roles(
    run: RunContext,
    stored: StoredSet,
    endpoint: Endpoint,
    target: RestoreTarget,
    name: str | None,
    password_from: str | None,
    *,
    adds: bool,
) -> tuple[OrdinaryRole | None, ChosenOwner | None]:
    """Return the role that restores with its own login, or the owner that a temporary role restores for.

    None of both: the role of the connection restores.
    """
    from jobs.backup import ChosenOwner, ordinary_role, owner_by_default, superuser_warnings

    password = _secret(password_from, "--as-password-from")
    if name and password:
        return ordinary_role(endpoint, target, name, password.reveal()), None
    if name:
        return None, ChosenOwner(name, by_default=False) if name != target.user else None
    owner = owner_by_default(stored, endpoint, target, adds_to_database=adds)
    if owner is None:
        output.print_warnings(superuser_warnings(stored, endpoint, target, run))
    return None, owner


def _secret(reference: str | None, option: str = "--password-from") -> Secret | None:
    import shlex
    from pathlib import Path

    from inventories import Secret

    if reference is None:
        return None
    kind, _, value = reference.partition(":")
    if value and kind == "env":
        return Secret(env=value, used_by=option)
    if value and kind == "file":
        return Secret(file=Path(value).expanduser(), used_by=option)
    if value and kind == "command":
        return Secret(command=tuple(shlex.split(value)), used_by=option)
    raise WrongUsage(f"{option}: expected env:NAME, file:PATH or command:LINE")


def _tunnel(via: str | None) -> TunnelSettings | None:
    from inventories import TunnelSettings

    if via is None:
        return None
    kind, _, value = via.partition("=")
    if value and kind == "ssh":
        return TunnelSettings(ssh=value)
    if value and kind == "kubernetes":
        target, _, context = value.partition("@")
        return TunnelSettings(kubernetes=target, context=context or None)
    raise WrongUsage("--via: expected ssh=HOST or kubernetes=NAMESPACE/KIND/NAME, optionally followed by @CONTEXT")


@contextmanager
def _connected(run: Run, address: Address) -> Iterator[Endpoint]:
    """Connect to the target; prompt for a password if the server requires one and none is set."""
    from inventories import Secret
    from jobs.backup import BackupError, maintenance_connection, reach

    with reach(run, address) as endpoint:
        password = endpoint.password
        try:
            with maintenance_connection(endpoint):
                pass
        except BackupError as error:
            if "no password supplied" not in str(error) or not sys.stdin.isatty():
                raise
            user = endpoint.parameters.get("user", "the database")
            answer = prompts.prompt(f"Password for {user}", check=run.check, hidden=True)
            password = Secret(literal=answer).reveal()
        yield replace(endpoint, password=password)


def _confirm(
    ctx: typer.Context, run: Run, endpoint: Endpoint, target: RestoreTarget, mode: RestoreMode, wanted: _Wanted
) -> None:
    """Ask before a restore writes to a database of a protected environment, or replaces one that could be.

    A dry run warns instead.
    """
    from jobs.backup import RestoreMode, find_protection

    overwrites = mode in (RestoreMode.REPLACE, RestoreMode.ADD_TABLES)
    protection = find_protection(arguments.find_repository(ctx), endpoint, target, ask_stores=overwrites)

    def confirm(name: str, reason: str, action: str) -> None:
        if wanted.dry_run and wanted.yes_to != name:
            output.print_warnings([f"{reason}; the restore asks for its name, or needs --yes-to {name}"])
            return
        prompts.confirm_protected(name, reason, action, "nothing was restored", yes_to=wanted.yes_to, check=run.check)

    for name, why in protection.unchecked.items():
        unknown = f"cannot tell whether {target.database} belongs to the protected environment {name}: {why}"
        if mode is RestoreMode.REPLACE:
            confirm(name, unknown, "replace it")
        else:
            output.print_warnings([unknown])
    for name in protection.environments:
        confirm(
            name, f"{target.database} on this server belongs to the protected environment {name}", "restore into it"
        )


def _print_plan(
    environment: Environment,
    selected: Set,
    stored: StoredSet,
    endpoint: Endpoint,
    mode: RestoreMode,
    plan: RestorePlan,
    runs_as: str,
    *,
    temporary: bool = False,
    as_json: bool,
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "environment": environment.name, "database": selected.database, "set": selected.id, "mode": mode.value,
            "tables": plan.tables, "roles": plan.roles, "as": runs_as,
        }  # fmt: skip
        output.print_json(document)
        return
    output.say(f"Would restore {_describe(environment, selected, stored)} to {endpoint.database}: {mode.value}.")
    rights = f"with the rights of {runs_as}" if mode.adds else "without rights"
    role = f"a temporary role {rights}, and everything would belong to {runs_as}" if temporary else runs_as
    output.say(f"Functions of the set would run as {role}.")
    if plan.tables:
        output.say(f"Tables: {', '.join(plan.tables)}.")
    if plan.roles:
        output.say(f"Missing roles that it would create: {', '.join(plan.roles)}.")


def _print_side_table(
    environment: Environment,
    selected: Set,
    stored: StoredSet,
    endpoint: Endpoint,
    side: SideTable,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    source, name = ".".join(side.source), ".".join(side.name)
    if as_json:
        document: dict[str, Any] = {
            "environment": environment.name, "database": selected.database, "set": selected.id,
            "into": endpoint.database, "table": source, "as_table": name, "rows": None if dry_run else side.rows,
            "copy_back": None if dry_run else side.copy_back, "dry_run": dry_run,
        }  # fmt: skip
        output.print_json(document)
        return
    what = f"table {source} of {_describe(environment, selected, stored)} into {endpoint.database} as table {name}"
    if dry_run:
        output.say(f"Would restore {what}: rows only.")
        return
    output.say(f"Restored {what}: {plural(side.rows, 'row')}.", output.GOOD)
    output.say("The new table has no constraints, indexes, defaults, triggers or privileges. To copy rows back:")
    output.say(f"  {side.copy_back}")
    output.say(f"To delete it: DROP TABLE {name};")


def _describe(environment: Environment, selected: Set, stored: StoredSet) -> str:
    from jobs.format import format_size

    at = format_time(selected.started, datetime.now(UTC), environment.timezone)
    return f"{selected.database} as it was at {at} (set {selected.id}, {format_size(stored.manifest.dumped_bytes)})"


def _print_restored(
    environment: Environment, selected: Set, stored: StoredSet, restored: Restored, took: timedelta, *, as_json: bool
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "environment": environment.name, "database": selected.database, "set": selected.id,
            "into": restored.database, "mode": restored.mode.value, "kept_as": restored.kept_as,
            "roles": restored.created_roles, "notes": restored.notes, "verified": selected.is_verified,
            "seconds": round(took.total_seconds(), 3), "bytes": stored.manifest.dumped_bytes,
        }  # fmt: skip
        output.print_json(document)
        return
    seconds = f"{took.total_seconds():.1f} s" if took < timedelta(minutes=1) else format_duration(took)
    what = _describe(environment, selected, stored)
    output.say(f"Restored {what} into {restored.database} in {seconds}.", output.GOOD)
    if restored.created_roles:
        roles = "missing role" if len(restored.created_roles) == 1 else "missing roles"
        output.say(f"Created the {roles}: {', '.join(restored.created_roles)}.")
    for note in restored.notes:
        output.say(f"Warning: {note}.", output.WARN)
    if selected.has_failed:
        output.say("The last verification of this set failed: check the restored data.", output.WARN)
    elif not selected.is_verified:
        output.say("This set was not verified before. To verify sets: crew backups verify", output.QUIET)
    if restored.kept_as is not None:
        quoted = restored.kept_as.replace('"', '""')
        output.say(f'The old database is kept as {restored.kept_as}. To delete it: DROP DATABASE "{quoted}";')


def verify_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: OptionalDatabase = None,
    set_id: SetToVerify = None,
    trust_unsigned: TrustUnsigned = None,
    from_copy: FromCopy = None,
    store_as_of: StoreAsOf = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> int:
    """Verify a backup set by restoring it into a scratch server.

    Compares the objects and row counts of the restored database with the manifest. Verifies the newest set that is not
    verified yet, or the one that --set names. Exits with 2 and prints a table if the restored database differs from the
    manifest. Exits with 1 if a part is damaged. For a stanza of [pitr], name pitr.NAME.
    """
    from jobs.backup import verify_job
    from jobs.cli.run import print_records, record_as_json, worst_first
    from jobs.pitr.job import VERIFICATIONS, stanza_of
    from jobs.run import Options, exit_code, run_job

    set_id = named_set(set_id, trust_unsigned)
    if set_id is not None and database is None:
        raise WrongUsage("a set needs its database: crew backups verify ENV DATABASE --set ID")
    environment = arguments.open_environment(ctx, environment_name)
    if store_as_of is not None and database is None:
        raise WrongUsage("--store-as-of needs a database: crew backups verify ENV DATABASE --store-as-of TIME")
    options = Options(only=arguments.subjects_in(environment, database, from_copy), dry_run=dry_run)
    moment = arguments.past_moment(environment, store_as_of) if store_as_of is not None else None
    open_records = arguments.environment_store if moment is None else arguments.unmarked_store
    store = open_records(environment, "verify")
    job = verify_job(set_id, trust_unsigned=trust_unsigned is not None, as_of=moment)
    if database and stanza_of(environment, database):
        if set_id or from_copy or store_as_of:
            raise WrongUsage(f"{database} is a stanza, which has no sets; omit --set, --from and --store-as-of")
        job = VERIFICATIONS
    records = worst_first(run_job(job, environment, store, options))
    found = dict(_differences_found(records))
    if as_json:
        differences = {name: [_difference_as_json(each) for each in of_one] for name, of_one in found.items()}
        output.print_json(
            {
                "environment": environment.name,
                "runs": [record_as_json(record) for record in records],
                "differences": differences,
            }
        )
    else:
        print_records(records)
        for of_one in found.values():
            _print_differences(of_one)
    return exit_code(records, scheduled=False)


def _differences_found(records: Iterable[Record]) -> Iterator[tuple[str, Sequence[Difference]]]:
    """Yield each verified database, and each stanza, with what is wrong."""
    from jobs.backup import Verification
    from jobs.pitr.verify import Examination

    for record in records:
        if isinstance(record.details, Verification):
            yield record.details.manifest.database, record.details.differences
        elif isinstance(record.details, Examination):
            yield record.subject, record.details.differences


def _difference_as_json(difference: Difference) -> dict[str, Any]:
    return {
        "kind": difference.kind,
        "name": difference.name,
        "expected": difference.expected,
        "found": difference.found,
        "rows": list(difference.rows),
    }


def _print_differences(differences: Sequence[Difference]) -> None:
    if not differences:
        return
    rows = [
        (each.kind, each.name, _number(each.expected, "any"), output.Cell(_number(each.found, "missing"), output.BAD))
        for each in differences
    ]
    output.table(rows, header=("", "name", "in the manifest", "restored"), indent=2)
    for each in differences:
        output.table([(row,) for row in each.rows], header=(f"rows of {each.kind} {each.name}",), indent=2)


def _number(number: int | None, none: str) -> str:
    return none if number is None else f"{number:,}"
