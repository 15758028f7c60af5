"""The job `refresh`: fill a database from another environment's newest verified set, and sanitise it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError
from jobs.backup.postgres import copies, programs
from jobs.backup.postgres.connection import Address, Endpoint, reach, translated_errors
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.postgres.supervisor import ends_with_parent
from jobs.backup.restore.chosen_owner import ChosenOwner, executed_for, present_owner, require_restorable_for
from jobs.backup.restore.lock import RestoreLock, restore_lock
from jobs.backup.restore.ordinary_role import is_superuser, ordinary_role
from jobs.backup.restore.pg_restore import DefinitionOptions
from jobs.backup.restore.processes import error_output
from jobs.backup.restore.protected import find_protection
from jobs.backup.restore.restore import create_roles, pg_restore_for, require_configured, restore_and_swap
from jobs.backup.restore.statistics import analyze, refresh_materialised_views
from jobs.backup.restore.target import (
    RestoreTarget,
    drop_replaced_by_refreshes,
    inspect_target,
    maintenance_connection,
)
from jobs.backup.restore.task import RestoreTask
from jobs.backup.sets.sets import Set, find_sets, is_dated_ahead
from jobs.backup.sets.stored import StoredSet, open_first, require_original_place
from jobs.backup.sources import restore_streams
from jobs.run.job import Job, Options, Outcome, Result, Run, UnknownName
from jobs.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from inventories import Environment, Refresh, Repository


def work(run: Run) -> Result:
    """Refresh one database, or name the set that would be used."""
    from inventories import Repository

    settings = run.environment.refresh[run.subject]
    if run.environment.protected:
        raise BackupError(
            f"{run.environment.name} is protected, so a refresh does not overwrite its databases; "
            "restore by hand instead: crew backups restore"
        )
    repository = Repository(run.environment.folder, run.environment.folder)
    stored, chosen, warnings = open_newest_verified(repository.read(settings.source_environment), settings)
    for warning in warnings:
        run.log.warning("newer set not used", why=warning)
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would fill it from set {chosen.id} of {settings.source}", {"set": chosen.id})
    with reach(run, Address(settings.into, settings.password)) as into, restore_lock(into) as lock:
        target = inspect_target(into)
        refuse_protected(repository, into, target, settings.unchecked)
        kept_as, notes = refresh(run, settings, stored, target, lock)
    sentence = (
        f"{into.database} is {settings.source} as it was at {chosen.started:%Y-%m-%d %H:%M} UTC, "
        f"sanitised (set {chosen.id})"
    )
    if kept_as is not None:
        sentence += f"; the previous database is kept as {kept_as} until the next refresh"
    sentence = "; ".join([sentence, *warnings, *notes])
    return Result(Outcome.DONE, sentence, {"set": chosen.id, "dumped_bytes": stored.manifest.dumped_bytes})


def open_newest_verified(environment: Environment, settings: Refresh) -> tuple[StoredSet, Set, list[str]]:
    """Open the set that a refresh uses, the newest verified one that is whole, and return warnings about newer ones."""
    if environment.store is None:
        raise BackupError(f"{environment.name} has no [store], so there are no backups to refresh from")
    store = open_store(environment.store, "refresh")
    verified = newest_verified(
        each
        for each in find_sets(store, environment, settings.source_database)
        if not is_dated_ahead(each, datetime.now(UTC))
    )
    if not verified:
        raise BackupError(
            f"{settings.source} has no verified set to refresh from; verify one: "
            f"crew backups verify {environment.name} {settings.source_database}"
        )
    chosen, stored, warnings = open_first(store, verified, environment.store.decrypt_with)
    require_original_place(stored)
    return stored, chosen, warnings


def newest_verified(sets: Iterable[Set]) -> list[Set]:
    """Return the sets that are complete, verified and trusted, newest first."""
    newest_first = sorted((each for each in sets if each.complete), key=lambda each: each.sort_key, reverse=True)
    return [each for each in newest_first if each.is_verified and each.untrusted is None]


def refuse_protected(
    repository: Repository, into: Endpoint, target: RestoreTarget, may_be_unchecked: Collection[str]
) -> None:
    """Raise if the target belongs, or could belong, to a protected environment, or is read-only."""
    protection = find_protection(repository, into, target)
    if protection.environments:
        raise BackupError(
            f"{target.database} belongs to {protection.environments[0]}, which is protected, "
            "so a refresh does not overwrite it; check `into` in this environment's file"
        )
    for name, why in protection.unchecked.items():
        if name not in may_be_unchecked:
            raise BackupError(
                f"cannot tell whether {target.database} belongs to the protected environment {name}: {why}. "
                f"If it does not, add `unchecked = [{json.dumps(name)}]` to this section of the environment's file"
            )
    if target.standby:
        raise BackupError(
            f"{target.database}: this server is a standby, which is read-only; name its primary in `into`"
        )


def restoring_owner(into: Endpoint, target: RestoreTarget, settings: Refresh) -> ChosenOwner | None:
    """Return the role that everything will belong to; None if it is the role of `into`.

    The script finds functions of the set by the search_path of the database, so no superuser runs it by accident.
    """
    if settings.restore_as == target.user or not (target.superuser or settings.restore_as):
        return None
    name = settings.restore_as or present_owner(into)
    if name is None or (not settings.restore_as and is_superuser(into, name)):
        raise BackupError(
            f"{target.user} is a superuser, and the script {settings.sanitise.name} can call functions of "
            f"{settings.source}; name a role without superuser rights in restore_as, or in the url of `into`. If you "
            f"trust every owner of {settings.source}, set restore_as = {json.dumps(target.user)}"
        )
    return ChosenOwner(name, by_default=False, option="restore_as")


def refresh(
    run: Run,
    settings: Refresh,
    stored: StoredSet,
    target: RestoreTarget,
    lock: RestoreLock,
) -> tuple[str | None, tuple[str, ...]]:
    """Restore into a copy, sanitise it and swap the names.

    Return the name that the previous database has now, and notes on older ones that the server does not drop.
    """
    into = lock.into
    owner = restoring_owner(into, target, settings)
    kept_as = copies.replaced_name(into.database, datetime.now(UTC), target.databases) if target.exists else None
    all_owners = target.superuser and owner is None
    options = DefinitionOptions(all_owners, target.superuser, target.tablespaces, subscriptions=False)
    streams = restore_streams(run.environment, run.subject)
    task = RestoreTask(stored, into, pg_restore_for(stored, target), run, streams, options)
    require_configured(task, is_copy=True)
    if owner is not None:
        require_restorable_for(task, target, owner)
        if settings.restore_as_password:
            password, option = settings.restore_as_password.reveal(), owner.option
            task, owner = replace(task, role=ordinary_role(into, target, owner.name, password, option=option)), None
    create_roles(stored, into, target, bare=True)
    run_script = partial(sanitise, script=settings.sanitise, delete_statistics=target.superuser)
    with executed_for(task, target, owner) as executed:
        restore_and_swap(executed, target, kept_as, lock, run_script)
    with maintenance_connection(into) as server:
        return kept_as, drop_replaced_by_refreshes(server, into.database, kept_as)


def sanitise(copy: RestoreTask, script: Path, *, delete_statistics: bool) -> None:
    """Run the script in one transaction, then remove what is left of the old rows.

    They are in materialised views, in statistics, and as dead rows in tables and in large objects.
    """
    with copy.run.step("sanitise"), tempfile.TemporaryFile() as stderr:
        into = copy.executes.with_options("-c row_security=off")  # a policy that hides rows from the script is an error
        argv = psql_command(programs.newest_psql(), replace(into, for_scripts=True).conninfo, script)
        with copy.run.process(
            ends_with_parent(argv),
            env=copy.executes.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process:
            code = process.wait()
        copy.run.check()
        if code:
            raise BackupError(f"the sanitising script {script} failed: {error_output(stderr, code)}")
    with copy.run.step("materialised views"):
        refresh_materialised_views(copy)
    with copy.run.step("statistics"):
        if delete_statistics:  # ANALYZE does not change the statistics of an empty table
            with translated_errors(), copy.into.connect(autocommit=True) as connection:
                connection.execute("DELETE FROM pg_catalog.pg_statistic")
                connection.execute("DELETE FROM pg_catalog.pg_statistic_ext_data")
                connection.execute("VACUUM pg_catalog.pg_largeobject")
        analyze(copy, "VACUUM (ANALYZE)")


def psql_command(program: ClientProgram, conninfo: str, script: Path) -> list[str]:
    """Return the command that runs a script in one transaction and stops at its first error."""
    return [
        program.path,
        "--no-psqlrc",
        "--no-password",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        f"--file={script}",
        f"--dbname={conninfo}",
    ]


def subjects(environment: Environment, _store: Store, options: Options) -> list[str]:
    """Return the names of the [refresh] sections to run."""
    unknown = [name for name in options.only if name not in environment.refresh]
    if unknown:
        known = ", ".join(environment.refresh) or "none"
        raise UnknownName(f"{environment.name} has no [refresh.{unknown[0]}]; it has: {known}")
    names = [*(options.only or environment.refresh)]
    return [name for name in names if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of a refresh."""
    line = environment.refresh[name].at
    return str(line) if line is not None else None


REFRESH = Job(
    "refresh",
    subjects,
    work,
    schedule,
    outlasts=timedelta(minutes=15),
    max_parallel=1,
    has_subject=lambda environment, name: name in environment.refresh,
)
