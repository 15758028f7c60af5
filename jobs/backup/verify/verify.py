"""The job `verify`: a set is verified by restoring it into a scratch server and counting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobs.backup.errors import BackupError, Damaged
from jobs.backup.postgres import copies, quoting
from jobs.backup.postgres import settings as of_database
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.restore import check, target
from jobs.backup.restore.compare import Difference
from jobs.backup.restore.fill import Filling, fill
from jobs.backup.restore.pg_restore import Manner
from jobs.backup.restore.restore import make_roles, restorer
from jobs.backup.restore.target import TargetState
from jobs.backup.sets.choose_set import chosen
from jobs.backup.sets.manifest import FORMAT, Manifest, iso_timestamp
from jobs.backup.sets.sets import VERIFICATION_FAILED, VERIFIED, Set, sets
from jobs.backup.sets.stored import StoredSet, opened
from jobs.backup.sources import knows, source, streams
from jobs.backup.verify.scratch import Scratch, scratch
from jobs.format import plural
from jobs.run.job import Job, Options, Outcome, Result, Run
from jobs.store import Exists, Prefix, open_store

if TYPE_CHECKING:
    from inventories import Environment, StoreSettings
    from jobs.backup.postgres.connection import Reached

_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Verification:
    """How a set stood up to being restored."""

    manifest: Manifest
    at: datetime
    run: str
    major: int
    where: str
    seconds: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def held(self) -> bool:
        return not self.differences

    def written(self) -> bytes:
        """As it is stored."""
        body = {
            "format": FORMAT,
            "set": self.manifest.set,
            "at": iso_timestamp(self.at),
            "run": self.run,
            "against": {"major": self.major, "where": self.where},
            "tables": len(self.manifest.tables),
            "rows": self.manifest.rows,
            "seconds": round(self.seconds, 3),
            "differences": [asdict(one) for one in self.differences],
            "notes": self.notes,
        }
        return json.dumps(body, indent=1, ensure_ascii=False).encode()


def work(
    run: Run, set_id: str | None = None, tell: Callable[[Verification], None] = lambda _verification: None
) -> Result:
    """Verify the newest set that is not verified yet, or a named one."""
    found = list(sets(run.store, run.environment.name, run.subject))
    one = chosen(found, run.subject, set_id) if set_id else unverified(found, run.subject)
    if one is None:
        there_are = plural(sum(one.complete for one in found), "set is", "sets are")
        return Result(Outcome.DONE, f"{there_are} verified already")
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would verify set {one.id}", {"set": one.id})
    stored = opened(run.store, one, _settings(run.environment).decrypt_with)
    try:
        verification = verify_set(run, stored)
    except Damaged as error:
        _keep(stored, VERIFICATION_FAILED, _damaged(run, stored, error))
        raise
    _keep(stored, VERIFIED if verification.held else VERIFICATION_FAILED, verification.written())
    tell(verification)
    return concluded(verification)


def unverified(found: Iterable[Set], database: str) -> Set | None:
    """The newest complete set without a verification; None when all have one."""
    found = list(found)
    chosen(found, database)
    left = [one for one in found if one.complete and one.verified is None]
    return max(left, key=lambda one: one.order, default=None)


def concluded(verification: Verification) -> Result:
    """What a run says of a verification."""
    figures: dict[str, int | float | str] = {
        "set": verification.manifest.set,
        "tables": len(verification.manifest.tables),
        "seconds": round(verification.seconds, 3),
        "differences": len(verification.differences),
    }
    if verification.manifest.rows is not None:
        figures["rows"] = verification.manifest.rows
    if verification.held:
        counted = (
            f", {verification.manifest.rows:,} rows"
            if verification.manifest.rows is not None
            else "; rows were not counted"
        )
        sentence = (
            f"set {verification.manifest.set} is verified: restored in {verification.seconds:.1f} s "
            f"into {verification.where}, {plural(len(verification.manifest.tables), 'table')}{counted}"
        )
        return Result(Outcome.DONE, "; ".join([sentence, *verification.notes]), figures)
    some = "; ".join(check.sentence(one) for one in verification.differences[:_AT_MOST])
    more = f"; and {len(verification.differences) - _AT_MOST} more" if len(verification.differences) > _AT_MOST else ""
    differs = f"set {verification.manifest.set} differs from its manifest: {some}{more}"
    return Result(Outcome.FINDING, differs, figures)


def verify_set(run: Run, stored: StoredSet) -> Verification:
    """Restore a set into a scratch server and hold it against its manifest."""
    begun = time.monotonic()
    with scratch(run, stored.manifest, run.environment.verify) as server:
        place = target.target_state(server.server)
        with (
            _roles(stored, server, place) as role_notes,
            _database(server, stored.manifest, place.major) as (into, notes),
        ):
            filling = Filling(
                stored, into, restorer(stored, place), run, streams(run.environment, run.subject), _manner(server)
            )
            fill(filling)
            with run.step("count"):
                found = check.differences(filling)
        for one in found:
            run.log.warning("difference", what=check.sentence(one))
        return Verification(
            stored.manifest,
            datetime.now(UTC),
            run.id,
            place.major,
            server.where,
            time.monotonic() - begun,
            found,
            (*notes, *role_notes),
        )


def _manner(server: Scratch) -> Manner:
    return Manner(owners=server.ours, privileges=server.ours, tablespaces=False, subscriptions=False)


@contextmanager
def _database(server: Scratch, manifest: Manifest, major: int) -> Iterator[tuple[Reached, tuple[str, ...]]]:
    """A database of the set's locale if the server has that, else without one: row counts don't depend on it."""
    import psycopg

    into = server.server.named(copies.restoring_name("groundcrew_verify", datetime.now(UTC)))
    notes: tuple[str, ...] = ()
    with target.maintenance(into) as there:
        target.sweep(there, "groundcrew_verify", datetime.now(UTC))
        try:
            there.execute(of_database.create(into.database, manifest.settings, major))
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.errors.DatabaseError as error:
            there.execute(of_database.create_plain(into.database, manifest.settings, major))
            notes = (f"restored with locale C, since the scratch server said: {error.diag.message_primary}",)
    try:
        with translated_errors(), into.connect(autocommit=True):
            yield into, notes
    finally:
        if not server.ours:
            target.drop(into, into.database)


@contextmanager
def _roles(stored: StoredSet, server: Scratch, place: TargetState) -> Iterator[tuple[str, ...]]:
    """The set's roles: whole on a server of our own; on another only their names, and only for as long as it takes."""
    made = make_roles(stored, server.server, place, names_only=not server.ours)
    try:
        yield made.notes if server.ours else ()
    finally:
        if not server.ours:
            _forget(server.server, made.roles)


def _forget(server: Reached, roles: Iterable[str]) -> None:
    """What still owns something on that server is not ours to remove."""
    import psycopg

    with target.maintenance(server) as there:
        for role in roles:
            with suppress(psycopg.errors.DatabaseError):
                there.execute(f"DROP ROLE IF EXISTS {quoting.name(role)}")


def _keep(stored: StoredSet, name: str, body: bytes) -> None:
    """A verification is written once; a set that fails again has said so already."""
    with suppress(Exists):
        stored.store.create(stored.key(name), body)


def _damaged(run: Run, stored: StoredSet, error: Damaged) -> bytes:
    body = {
        "format": FORMAT,
        "set": stored.manifest.set,
        "at": iso_timestamp(datetime.now(UTC)),
        "run": run.id,
        "damage": str(error),
        "differences": [],
    }
    return json.dumps(body, indent=1, ensure_ascii=False).encode()


def _settings(environment: Environment) -> StoreSettings:
    if environment.store is None:
        raise BackupError(f"{environment.name} has no [store] where backups could be")
    return environment.store


def subjects(environment: Environment, options: Options) -> list[str]:
    """The databases whose sets are to be verified: those in the store that the environment still names."""
    store = open_store(_settings(environment), "verify")
    root = f"{environment.name}/backups/"
    stored = [found.key[len(root) :].rstrip("/") for found in store.folders(root) if isinstance(found, Prefix)]
    for name in set(options.only) - {*stored}:
        source(environment, name)
    if options.only:
        return [name for one in options.only for name in _expanded(environment, one, stored)]
    wanted = [name for name, one in environment.databases.items() if one.verify is not None]
    names = [name for name in dict.fromkeys([*stored, *wanted]) if knows(environment, name)]
    return [name for name in names if not options.scheduled or schedule(environment, name)]


def _expanded(environment: Environment, name: str, stored: Iterable[str]) -> list[str]:
    """A server stands for all its databases."""
    if name not in environment.servers:
        return [name]
    return [one for one in stored if one.startswith(f"{name}.")]


def schedule(environment: Environment, name: str) -> str | None:
    """The cron line of a database's verifications."""
    line = source(environment, name)[0].verify
    return str(line) if line is not None else None


def limit(environment: Environment, name: str) -> timedelta:
    """The time that a verification may take."""
    return source(environment, name)[0].limits.run if knows(environment, name) else timedelta(hours=6)


VERIFY = Job("verify", subjects, work, schedule, limit, side_by_side=1, knows=knows)
