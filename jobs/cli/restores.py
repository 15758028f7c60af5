"""`crew backups restore` and `crew backups verify`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, WrongUsage
from jobs.cli.prompts import asked
from jobs.format import format_duration, format_time

if TYPE_CHECKING:
    from inventories import Environment, Secret, TunnelSettings
    from jobs.backup.postgres.connection import Address, Reached
    from jobs.backup.restore.restore import Restored, Way
    from jobs.backup.restore.target import TargetState
    from jobs.backup.sets.sets import Set
    from jobs.backup.sets.stored import StoredSet
    from jobs.backup.verify.verify import Verification
    from jobs.run.job import Run

SetName = Annotated[
    str | None, typer.Option("--set", metavar="ID", help="This set; the four characters at its end will do.")
]
Tables = Annotated[
    list[str] | None,
    typer.Option("--tables", metavar="TABLE", help="Only this table, as schema.table or table; may be repeated."),
]
Tunnel = Annotated[str | None, typer.Option(metavar="TUNNEL", help="ssh=HOST or kubernetes=namespace/kind/name.")]
StoredDatabase = Annotated[str, typer.Argument(metavar="DATABASE", help="The database's name in the file.")]


def restore(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: StoredDatabase,
    into: Annotated[str, typer.Option(metavar="URL", help="postgresql://user@host:5432/database")],
    set_id: SetName = None,
    before: Annotated[
        str | None, typer.Option(metavar="TIME", help="The last set from before 2026-11-20, 02:00, or an ISO time.")
    ] = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make the database, with the locale and settings it had.")
    ] = False,
    replaces: Annotated[
        bool, typer.Option("--replace", help="Restore beside what stands there, check, swap; the old one is kept.")
    ] = False,
    tables: Tables = None,
    parallel: Annotated[
        int | None, typer.Option(min=1, max=64, help="Streams at once; left out: one more than the backup's.")
    ] = None,
    password_from: Annotated[
        str | None, typer.Option(metavar="SECRET", help="env:NAME, file:PATH or command:LINE; else as psql finds it.")
    ] = None,
    via: Tunnel = None,
    yes_to: Annotated[
        str | None, typer.Option(metavar="NAME", help="Yes, overwrite what this protected environment looks after.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """Restore a backup set into a database.

    The newest complete set, if none is named. A database that is not empty is only replaced with --replace. Every
    part's hash is checked before a restore is called good.
    """
    from jobs.backup.postgres.connection import Address
    from jobs.backup.restore.restore import restore as bring
    from jobs.backup.restore.restore import way
    from jobs.backup.restore.target import target_state
    from jobs.backup.sets.choose_set import chosen, moment
    from jobs.backup.sets.stored import opened
    from jobs.backup.sources import sets_of, streams
    from jobs.run import unrecorded_run

    environment = arguments.environment(ctx, environment_name)
    store = arguments.store(environment)
    until = moment(before, environment.timezone, datetime.now(UTC)) if before is not None else None
    one = chosen(sets_of(environment, store, database), database, set_id, until)
    target = Address(_hidden(into), _secret(password_from), _tunnel(via))
    begun = time.monotonic()
    with unrecorded_run(environment, store, "restore", database) as run, _reached(run, target) as reached:
        stored = opened(store, one, environment.store.decrypt_with if environment.store else None)
        place = target_state(reached)
        chosen_way = way(place, create=create, replaces=replaces, some=bool(tables))
        _consent(ctx, run, reached, place, yes_to)
        if dry_run:
            _tell_plan(environment, one, stored, reached, chosen_way, as_json=as_json)
            return 0
        jobs = parallel or streams(environment, database)
        done = bring(stored, reached, place, run, chosen_way, jobs=jobs, tables=tables or ())
    _tell_restored(environment, one, stored, done, timedelta(seconds=time.monotonic() - begun), as_json=as_json)
    return 0


def _hidden(url: str) -> str:
    """The address, with a password in it known to whatever prints."""
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    from inventories import hide

    try:
        given = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise WrongUsage(f"--into: {str(error).strip()}; write postgresql://user@host:5432/database") from None
    if given.get("password"):
        hide(str(given["password"]))
    if not given.get("dbname"):
        raise WrongUsage("--into names no database; write postgresql://user@host:5432/database")
    return url


def _secret(reference: str | None) -> Secret | None:
    import shlex
    from pathlib import Path

    from inventories import Secret

    if reference is None:
        return None
    kind, _, what = reference.partition(":")
    if what and kind == "env":
        return Secret(env=what, asked_by="--password-from")
    if what and kind == "file":
        return Secret(file=Path(what).expanduser(), asked_by="--password-from")
    if what and kind == "command":
        return Secret(command=tuple(shlex.split(what)), asked_by="--password-from")
    raise WrongUsage("--password-from names no secret; use env:NAME, file:PATH or command:LINE")


def _tunnel(via: str | None) -> TunnelSettings | None:
    from inventories import TunnelSettings

    if via is None:
        return None
    kind, _, what = via.partition("=")
    if what and kind == "ssh":
        return TunnelSettings(ssh=what)
    if what and kind == "kubernetes":
        target, _, context = what.partition("@")
        return TunnelSettings(kubernetes=target, context=context or None)
    raise WrongUsage("--via names no tunnel; use ssh=HOST or kubernetes=namespace/kind/name, @context at its end")


@contextmanager
def _reached(run: Run, target: Address) -> Iterator[Reached]:
    """The target; a password that nobody has told yet is asked for on a terminal."""
    from inventories import Secret
    from jobs.backup.errors import BackupError
    from jobs.backup.postgres.connection import reach
    from jobs.backup.restore.target import maintenance

    with reach(run, target) as reached:
        password = reached.password
        try:
            with maintenance(reached):
                pass
        except BackupError as error:
            if "no password supplied" not in str(error) or not sys.stdin.isatty():
                raise
            answer = asked(run, f"Password for {reached.parameters.get('user', 'the database')}", hidden=True)
            password = Secret(literal=answer).reveal()
        yield replace(reached, password=password)


def _consent(ctx: typer.Context, run: Run, reached: Reached, place: TargetState, yes_to: str | None) -> None:
    """Ask before something is written into what a protected environment looks after."""
    from jobs.backup.restore.protected import verdict
    from jobs.run import Failed

    told = verdict(arguments.repository(ctx), reached, place)
    for why in told.unknown:
        typer.echo(f"Whether this database belongs to a protected environment could not be told for {why}", err=True)
    for name in told.of:
        if yes_to == name:
            continue
        what = f"{place.database} on this server belongs to the protected environment {name}"
        if not sys.stdin.isatty():
            raise WrongUsage(f"{what}; to restore into it all the same: --yes-to {name}")
        if asked(run, f"{what}. To restore into it all the same, type its name") != name:
            raise Failed(f"nothing was restored; the answer was not {name}")


def _tell_plan(
    environment: Environment, one: Set, stored: StoredSet, reached: Reached, chosen: Way, *, as_json: bool
) -> None:
    if as_json:
        arguments.print_json(
            {"environment": environment.name, "database": one.database, "set": one.id, "would": chosen.value}
        )
        return
    output.say(f"Would restore {_named(environment, one, stored)} to {reached.database}: {chosen.value}.")


def _named(environment: Environment, one: Set, stored: StoredSet) -> str:
    from jobs.format import format_size

    at = format_time(one.started, datetime.now(UTC), environment.timezone)
    return f"{one.database} as it was at {at} (set {one.id}, {format_size(stored.manifest.dumped_bytes)})"


def _tell_restored(
    environment: Environment, one: Set, stored: StoredSet, done: Restored, took: timedelta, *, as_json: bool
) -> None:
    if as_json:
        told: dict[str, Any] = {
            "environment": environment.name, "database": one.database, "set": one.id, "into": done.database,
            "way": done.way.value, "kept": done.kept, "roles": done.made, "notes": done.notes,
            "verified": one.verified is not None,
            "seconds": round(took.total_seconds(), 3), "bytes": stored.manifest.dumped_bytes,
        }  # fmt: skip
        arguments.print_json(told)
        return
    seconds = f"{took.total_seconds():.1f} s" if took < timedelta(minutes=1) else format_duration(took)
    output.say(f"Restored {_named(environment, one, stored)} into {done.database} in {seconds}.", output.GOOD)
    if done.made:
        output.say(f"Made the {_roles(done.made)}: {', '.join(done.made)}.")
    for note in done.notes:
        output.say(f"But {note}.", output.WARN)
    if one.verified is None:
        output.say("This set had not been verified before: crew backups verify does that beforehand.", output.QUIET)
    if done.kept is not None:
        output.say(f'What stood there is kept as {done.kept}. Once nobody misses it: DROP DATABASE "{done.kept}";')


def _roles(made: Sequence[str]) -> str:
    return "role that was missing" if len(made) == 1 else "roles that were missing"


def verify(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    database: Annotated[str | None, typer.Argument(metavar="[DATABASE]", help="Left out: all of them.")] = None,
    set_id: SetName = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say which set would be verified, and do nothing.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Verify a backup set by restoring it into a scratch server and counting.

    The newest set that is not verified yet, if none is named. What differs from the manifest is shown as a table, and
    the command exits with 2; a damaged part makes it exit with 1.
    """
    from jobs.backup.verify import verify as verifying
    from jobs.cli.run import record_as_json, show, worst_first
    from jobs.run import Options, exit_code, run_job

    if set_id is not None and database is None:
        raise WrongUsage("--set belongs to one database: name it too")
    environment = arguments.environment(ctx, environment_name)
    verifications: list[Verification] = []
    job = replace(verifying.VERIFY, work=lambda run: verifying.work(run, set_id, verifications.append))
    options = Options(only=(database,) if database else (), dry_run=dry_run)
    records = worst_first(run_job(job, environment, arguments.store(environment, "verify"), options))
    if as_json:
        differences = {
            verification.manifest.database: [_difference(one) for one in verification.differences]
            for verification in verifications
        }
        arguments.print_json(
            {
                "environment": environment.name,
                "runs": [record_as_json(one) for one in records],
                "differences": differences,
            }
        )
    else:
        show(records)
        for verification in verifications:
            _tell_differences(verification)
    return exit_code(records, scheduled=False)


def _difference(one: Any) -> dict[str, Any]:
    return {"kind": one.kind, "name": one.name, "promised": one.promised, "found": one.found}


def _tell_differences(verification: Verification) -> None:
    if not verification.differences:
        return
    rows = [
        (one.kind, one.name, _figure(one.promised, "any"), output.Cell(_figure(one.found, "not there"), output.BAD))
        for one in verification.differences
    ]
    output.table(rows, header=("", "name", "promised", "found"), indent=2)


def _figure(number: int | None, none: str) -> str:
    return none if number is None else f"{number:,}"
