"""The job `refresh`: a database is filled from another environment's newest verified set, and sanitised unseen."""

from __future__ import annotations

import subprocess
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError, NoProgram
from jobs.backup.postgres import copies, programs, quoting
from jobs.backup.postgres.connection import Address, Reached, reach, translated_errors
from jobs.backup.postgres.programs import Program
from jobs.backup.restore import target
from jobs.backup.restore.fill import Filling, analyze
from jobs.backup.restore.pg_restore import Manner
from jobs.backup.restore.protected import verdict
from jobs.backup.restore.restore import beside, make_roles, restorer
from jobs.backup.restore.target import TargetState
from jobs.backup.sets.sets import Set, sets
from jobs.backup.sets.stored import StoredSet, opened
from jobs.backup.sources import streams
from jobs.run.job import Job, Options, Outcome, Result, Run, UnknownName
from jobs.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from inventories import Environment, Refresh, Repository


def work(run: Run) -> Result:
    """Fill one database, or say with what it would be."""
    from inventories import Repository

    wish = run.environment.refresh[run.subject]
    if run.environment.protected:
        raise BackupError(
            f"{run.environment.name} is protected: no database of it is overwritten by a refresh; "
            "restore by hand instead: crew backups restore"
        )
    repository = Repository(run.environment.folder, run.environment.folder)
    stored, one = newest_verified(repository.read(wish.source_environment), wish)
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would fill it from set {one.id} of {wish.source}", {"set": one.id})
    with reach(run, Address(wish.into, wish.password)) as into:
        place = target.target_state(into)
        refuse_protected(repository, into, place, run)
        kept = refresh(run, wish, stored, into, place)
    sentence = (
        f"{into.database} is {wish.source} as it was at {one.started:%Y-%m-%d %H:%M} UTC, sanitised (set {one.id})"
    )
    aside = f"; the previous database is kept as {kept} until the next refresh" if kept is not None else ""
    return Result(Outcome.DONE, sentence + aside, {"set": one.id, "dumped_bytes": stored.manifest.dumped_bytes})


def newest_verified(environment: Environment, wish: Refresh) -> tuple[StoredSet, Set]:
    """The set that a refresh takes; what was never verified is not handed on."""
    if environment.store is None:
        raise BackupError(f"{environment.name} has no [store], so there are no backups to refresh from")
    store = open_store(environment.store, "refresh")
    one = newest(sets(store, environment.name, wish.source_database))
    if one is None:
        raise BackupError(
            f"{wish.source} has no verified set to refresh from; verify one: "
            f"crew backups verify {environment.name} {wish.source_database}"
        )
    return opened(store, one, environment.store.decrypt_with), one


def newest(found: Iterable[Set]) -> Set | None:
    """The newest set that is complete and verified."""
    return max((one for one in found if one.complete and one.verified), key=lambda one: one.order, default=None)


def refuse_protected(repository: Repository, into: Reached, place: TargetState, run: Run) -> None:
    """Whatever the address says: nothing that a protected environment looks after is overwritten."""
    belongs = verdict(repository, into, place)
    for why in belongs.unknown:
        run.log.warning("could not tell whether this database belongs to a protected environment", why=why)
    if belongs.of:
        raise BackupError(f"{place.database} belongs to {belongs.of[0]}, which is protected: no refresh overwrites it")
    if place.standby:
        raise BackupError(f"{place.database}: this server is a standby, which can't be written to; name its primary")


def refresh(run: Run, wish: Refresh, stored: StoredSet, into: Reached, place: TargetState) -> str | None:
    """Restore beside, sanitise, swap; the name under which the old one is kept is returned."""
    kept = copies.replaced_name(into.database, datetime.now(UTC), place.databases) if place.exists else None
    make_roles(stored, into, place, names_only=True)
    manner = Manner(place.superuser, place.superuser, place.tablespaces, subscriptions=False)
    filling = Filling(stored, into, restorer(stored, place), run, streams(run.environment, run.subject), manner)
    beside(filling, place, kept, partial(sanitise, script=wish.sanitise, forget=place.superuser))
    with target.maintenance(into) as server:
        for name in target.kept_by_refreshes(server, into.database):
            server.execute(f"DROP DATABASE {quoting.name(name)}")
        if kept is not None:
            comment = quoting.text(copies.refresh_comment(into.database))
            server.execute(f"COMMENT ON DATABASE {quoting.name(kept)} IS {comment}")
    return kept


def sanitise(copy: Filling, script: Path, *, forget: bool) -> None:
    """Run the script in one transaction, then take away what still tells of the rows as they were."""
    with copy.run.step("sanitise"), tempfile.TemporaryFile() as words:
        argv = psql(_psql(), copy.into.conninfo, script)
        program = copy.run.process(
            argv, env=copy.into.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=words
        )
        code = program.wait()
        copy.run.check()
        if code:
            from inventories import redact

            words.seek(0)
            said = " ".join(redact(words.read(20_000).decode(errors="replace")).split())
            raise BackupError(f"the sanitising script failed, and the copy is dropped: {said}")
    with copy.run.step("statistics"):
        if forget:  # of a table that was emptied, ANALYZE would leave the statistics as they are
            with translated_errors(), copy.into.connect(autocommit=True) as there:
                there.execute("DELETE FROM pg_statistic")
                there.execute("DELETE FROM pg_statistic_ext_data")
        analyze(copy, "VACUUM (ANALYZE)")


def psql(program: Program, conninfo: str, script: Path) -> list[str]:
    """Run a script in one transaction, which its first error ends."""
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


def _psql() -> Program:
    found = programs.installed("psql")
    if not found:
        raise NoProgram("no psql on this machine, which runs the sanitising script; install postgresql-client")
    return max(found, key=lambda program: program.major)


def subjects(environment: Environment, options: Options) -> list[str]:
    """The databases that the environment has filled for it."""
    unknown = [name for name in options.only if name not in environment.refresh]
    if unknown:
        there_are = ", ".join(environment.refresh) or "none"
        raise UnknownName(f"{environment.name} has no [refresh.{unknown[0]}]; there are: {there_are}")
    names = [*(options.only or environment.refresh)]
    return [name for name in names if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """The cron line of a refresh."""
    line = environment.refresh[name].at
    return str(line) if line is not None else None


REFRESH = Job("refresh", subjects, work, schedule, side_by_side=1, knows=lambda known, name: name in known.refresh)
