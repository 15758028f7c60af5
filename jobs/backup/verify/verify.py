"""Restore a set into a scratch server and compare it with its manifest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError, Damaged, NeedsSuperuser, UnreadableSet, Untrusted
from jobs.backup.places import in_its_place
from jobs.backup.postgres import quoting
from jobs.backup.postgres import settings as database_settings
from jobs.backup.postgres.connection import translated_errors
from jobs.backup.postgres.programs import installed_clients
from jobs.backup.restore.chosen_owner import LACKS_RIGHTS, with_role
from jobs.backup.restore.compare import Difference, compare, difference_text, sequence_notes
from jobs.backup.restore.count import count_contents
from jobs.backup.restore.definitions import require_restorable
from jobs.backup.restore.fill import fill
from jobs.backup.restore.pg_restore import DefinitionOptions
from jobs.backup.restore.restore import create_roles, pg_restore_for
from jobs.backup.restore.target import (
    RestoreTarget,
    create_copy,
    drop_abandoned_copies,
    drop_database,
    inspect_target,
    maintenance_connection,
)
from jobs.backup.restore.task import RestoreTask
from jobs.backup.restore.temporary_role import (
    LoginRefused,
    drop_abandoned_roles,
    reading_role,
    verifying_role,
)
from jobs.backup.sets.choose_set import choose_set
from jobs.backup.sets.description import Description
from jobs.backup.sets.manifest import Manifest, iso_timestamp
from jobs.backup.sets.results import result_name
from jobs.backup.sets.sets import Set, find_sets
from jobs.backup.sets.signatures import VERIFICATION_NAMESPACE, SigningKey
from jobs.backup.sets.stored import StoredSet, open_set, require_pieces
from jobs.backup.sets.trust import result_signer, sign_name
from jobs.backup.sources import (
    is_known,
    restore_streams,
    section_of,
)
from jobs.backup.verify.amcheck import AmcheckResult, pg_amcheck_for, run_amcheck
from jobs.backup.verify.scratch import SCRATCH_DATABASE, ScratchServer, scratch_server
from jobs.backup.verify.statements import script_differences
from jobs.format import and_more, plural
from jobs.run.documents import to_body
from jobs.run.job import Outcome, Result, Run
from jobs.store import ReadOnly, Store

if TYPE_CHECKING:
    import psycopg

    from inventories import DatabaseSettings, Environment, ServerSettings, StoreSettings
    from jobs.backup.postgres.connection import Endpoint
    from jobs.backup.postgres.settings import DatabaseProperties

_SHOWN = 5
_ROLE_COMMENT = "created by a verification of groundcrew at "
_MAX_TIME = timedelta(days=1)
_ROLES_LEFT = """SELECT rolname FROM pg_catalog.pg_roles, pg_catalog.shobj_description(oid, 'pg_authid') comment
    WHERE pg_catalog.starts_with(comment, %s) AND comment < %s COLLATE "C\""""


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of verifying a set."""

    manifest: Manifest
    description: Description
    at: datetime
    run: str
    major: int
    where: str
    seconds: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.differences

    def as_json(self) -> bytes:
        """Return the document that is stored beside the set, in clear: it describes nothing of the database."""
        fields = {
            "set": self.manifest.set,
            "at": iso_timestamp(self.at),
            "outcome": "passed" if self.passed else "failed",
            "run": self.run,
            "against": {"major": self.major, "where": self.where},
            "seconds": round(self.seconds, 3),
            "differences": len(self.differences),
        }
        return to_body(fields)


def verify_subject(
    run: Run, set_id: str | None = None, *, trust_unsigned: bool = False, as_of: datetime | None = None
) -> Result:
    """Verify a set: the one with this id, or the newest that is not verified yet."""
    signer, run = result_signer(run.environment), in_its_place(run, as_of)
    sets = list(find_sets(run.store, run.environment, run.subject))
    chosen = choose_set(sets, run.subject, set_id) if set_id else newest_unverified(sets, run.subject)
    if set_id is None and not run.options.dry_run:
        newest = next(iter(_trusted_newest_first(sets)))
        if newest is not chosen:  # a verified set can have been changed since
            with _saving_damage(run, newest, signer):
                _open_whole(run, newest)
    if chosen is None:
        verified = plural(sum(each.complete and each.is_verified for each in sets), "set is", "sets are")
        return Result(Outcome.DONE, f"{verified} verified already")
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would verify set {chosen.id}", {"set": chosen.id})
    with _saving_damage(run, chosen, signer):
        stored = _open_whole(run, chosen, trust_unsigned=trust_unsigned)
        verification = verify_set(run, stored)
    if stored.untrusted is not None:
        signer = None
    failed, body = not verification.passed, verification.as_json()
    save_result(run.store, chosen, body, verification.at, failed=failed, signer=signer)
    return verification_result(verification)


def _open_whole(run: Run, chosen: Set, *, trust_unsigned: bool = False) -> StoredSet:
    decrypt_with = _store_settings(run.environment).decrypt_with
    stored = open_set(run.store, chosen, decrypt_with, trust_unsigned=trust_unsigned)
    require_pieces(stored)
    return stored


@contextmanager
def _saving_damage(run: Run, chosen: Set, signer: SigningKey | None) -> Iterator[None]:
    """Store that the verification failed, if the set was damaged, or changed after it was signed."""
    try:
        yield
    except (Damaged, Untrusted) as error:
        now = datetime.now(UTC)
        if isinstance(error, Damaged) or chosen.untrusted is None:
            save_result(run.store, chosen, _damage_as_json(run, chosen, error, now), now, failed=True, signer=signer)
        raise


def newest_unverified(sets: Iterable[Set], database: str) -> Set | None:
    """Return the newest complete and trusted set without a verification; None if all are verified."""
    sets = list(sets)
    newest = choose_set(sets, database, any_complete=True)  # raises if no set is complete
    trusted = list(_trusted_newest_first(sets))
    if not trusted:
        raise Untrusted(f"{database} has no set that is trusted; set {newest.id}: {newest.untrusted}")
    return next((each for each in trusted if not each.is_verified), None)


def _trusted_newest_first(sets: Iterable[Set]) -> Iterator[Set]:
    newest_first = sorted((each for each in sets if each.complete), key=lambda each: each.sort_key, reverse=True)
    return (each for each in newest_first if each.untrusted is None)


def verification_result(verification: Verification) -> Result:
    """Return the result of a run: a finding if the set differs from its manifest."""
    manifest, tables, rows = verification.manifest, verification.description.tables, verification.description.rows
    figures: dict[str, int | float | str] = {
        "set": manifest.set,
        "tables": len(tables),
        "seconds": round(verification.seconds, 3),
        "differences": len(verification.differences),
    }
    if rows is not None:
        figures["rows"] = rows
    if not verification.passed:
        listed = and_more([difference_text(difference) for difference in verification.differences], _SHOWN)
        message = f"set {manifest.set} differs from its manifest: {listed}"
        return Result(Outcome.FINDING, message, figures, details=verification)
    counted = f", {plural(rows, 'row')}" if rows is not None else "; rows were not counted"
    message = (
        f"set {manifest.set} is verified: restored in {verification.seconds:.1f} s "
        f"into {verification.where}, {plural(len(tables), 'table')}{counted}"
    )
    return Result(Outcome.DONE, "; ".join([message, *verification.notes]), figures, details=verification)


def verify_set(run: Run, stored: StoredSet) -> Verification:
    """Restore a set into a scratch server and compare it with its manifest."""
    started = time.monotonic()
    with scratch_server(run, stored, run.environment.verify) as server:
        target = inspect_target(server.endpoint)
        planned = RestoreTask(
            stored,
            server.endpoint,
            pg_restore_for(stored, target),
            run,
            restore_streams(run.environment, run.subject),
            _definition_options(server),
            throw_away=server.temporary,
            small_sample=not _has_own_checks(run),
        )
        if gives_up_rights(server, target):
            _require_no_superuser(planned, target)
        with (
            _temporary_roles(stored, server, target) as role_notes,
            _scratch_database(server, stored.description.settings, target.major) as (into, notes),
            _without_rights(replace(planned, into=into), server, target) as task,
        ):
            counted = fill(task)
            with run.step("count"):
                contents = count_contents(task, known=counted)
                differences = compare(stored.description, contents)
            checked = _check_structure(task, server, target)
            differences += checked.differences + _own_checks(task, server, target)
        for difference in differences:
            run.log.warning("difference", what=difference_text(difference))
        return Verification(
            stored.manifest,
            stored.description,
            datetime.now(UTC),
            run.id,
            target.major,
            server.where,
            time.monotonic() - started,
            differences,
            (
                *((stored.mismatch,) if stored.mismatch else ()),
                *isolation_notes(server, target),
                *notes,
                *checked.notes,
                *role_notes,
                *sequence_notes(stored.description.sequences, contents.sequences),
            ),
        )


def _known_section(run: Run) -> DatabaseSettings | ServerSettings | None:
    return section_of(run.environment, run.subject)[0] if is_known(run.environment, run.subject) else None


def _has_own_checks(run: Run) -> bool:
    section = _known_section(run)
    return section is not None and section.verify_with is not None


def _check_structure(task: RestoreTask, server: ScratchServer, target: RestoreTarget) -> AmcheckResult:
    """Run pg_amcheck in the restored database, if its section says so. That takes a superuser."""
    run = task.run
    section = _known_section(run)
    if section is None or not section.amcheck:
        return AmcheckResult()
    if not server.temporary:
        return AmcheckResult(
            notes=("amcheck did not run: it runs only on a temporary server; remove scratch from [verify]",)
        )
    program = pg_amcheck_for(target.major, installed_clients("pg_amcheck"))
    return run_amcheck(run, program, task.into, [task.into.database], built_here=True)


def _own_checks(task: RestoreTask, server: ScratchServer, target: RestoreTarget) -> tuple[Difference, ...]:
    """Run the script of verify_with as a role without superuser rights; return a difference per statement with rows."""
    run = task.run
    section = _known_section(run)
    if section is None or section.verify_with is None:
        return ()
    settings, limit = task.stored.description.settings.settings, section.limits.verify_with
    if not target.superuser or gives_up_rights(server, target):
        return script_differences(run, task.executes, section.verify_with, settings, limit)
    with reading_role(task.into) as role:
        return script_differences(run, role.endpoint(task.into), section.verify_with, settings, limit)


def isolation_notes(server: ScratchServer, target: RestoreTarget) -> tuple[str, ...]:
    """Return a note if code of the set could reach this machine, or had all rights on a configured server."""
    if server.not_isolated:
        return (f"not isolated from this machine: {server.not_isolated}",)
    if target.superuser and server.as_superuser:
        return (f"functions of the set ran as {target.user}, a superuser of the scratch server",)
    if target.can_run_programs and not server.temporary:
        return (
            f"functions of the set ran as {target.user}, which can grant itself the right to run programs on a scratch "
            f"server of PostgreSQL {target.major}; use 16 or newer",
        )
    return ()


def gives_up_rights(server: ScratchServer, target: RestoreTarget) -> bool:
    """Whether a role without rights executes what the set brings: a superuser would let it take over the server."""
    return target.superuser and not server.temporary and not server.as_superuser


@contextmanager
def _without_rights(task: RestoreTask, server: ScratchServer, target: RestoreTarget) -> Iterator[RestoreTask]:
    """Provide the task with a role that exists during this verification, if functions of the set need one."""
    if not gives_up_rights(server, target):
        yield task
        return
    try:
        with verifying_role(task.into) as role:
            yield with_role(task, role)
    except LoginRefused as error:
        raise _needs_superuser(str(error), target) from None
    except BackupError as error:
        if isinstance(error, UnreadableSet) or not LACKS_RIGHTS.search(str(error)):
            raise
        raise _needs_superuser(str(error), target) from None


def _require_no_superuser(task: RestoreTask, target: RestoreTarget) -> None:
    try:
        require_restorable(task, "a role without superuser rights")
    except NeedsSuperuser as error:
        raise _needs_superuser(str(error), target) from None


def _needs_superuser(why: str, target: RestoreTarget) -> NeedsSuperuser:
    return NeedsSuperuser(
        f"the set was not verified (this does not mean that it is damaged): {why}. Without scratch in [verify], a "
        f"temporary server verifies it. If the scratch server has nothing else on it, as_superuser = true in [verify] "
        f"lets functions of the set run as {target.user}"
    )


def _definition_options(server: ScratchServer) -> DefinitionOptions:
    return DefinitionOptions(
        owners=server.temporary, privileges=server.temporary, tablespaces=False, subscriptions=False
    )


@contextmanager
def _scratch_database(
    server: ScratchServer, properties: DatabaseProperties, major: int
) -> Iterator[tuple[Endpoint, tuple[str, ...]]]:
    """Create a database, with locale C if the server lacks the locale of the set: row counts do not depend on it."""
    with maintenance_connection(server.endpoint.with_database(SCRATCH_DATABASE)) as connection:
        create = partial(
            _create_scratch_database, connection, properties=properties, major=major, temporary=server.temporary
        )
        if server.temporary:
            name, notes = SCRATCH_DATABASE, create(SCRATCH_DATABASE)
        else:
            name, notes = create_copy(SCRATCH_DATABASE, datetime.now(UTC), create)
            for statement in database_settings.admit_restore_statements(name, superuser=False):
                connection.execute(statement)
    into = server.endpoint.with_database(name)
    try:
        with translated_errors(), into.connect(autocommit=True):
            yield into, notes
    finally:
        if not server.temporary:
            drop_database(into, into.database)


def _create_scratch_database(
    connection: psycopg.Connection[Any], name: str, *, properties: DatabaseProperties, major: int, temporary: bool
) -> tuple[str, ...]:
    """Create a database, and return a note if it has another locale."""
    import psycopg

    closed, durable = not temporary, not temporary
    create = partial(database_settings.create_statement, closed=closed, durable=durable)
    without_locale = partial(database_settings.create_statement_without_locale, closed=closed, durable=durable)
    try:
        connection.execute(create(name, properties, major))
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.DuplicateDatabase):
        raise
    except psycopg.errors.DatabaseError as error:
        connection.execute(without_locale(name, properties, major))
        return (f"restored with locale C, because the scratch server says: {error.diag.message_primary}",)
    return ()


@contextmanager
def _temporary_roles(stored: StoredSet, server: ScratchServer, target: RestoreTarget) -> Iterator[tuple[str, ...]]:
    """Create the roles of the set. On a configured server, create only their names and drop them afterwards."""
    if server.temporary:
        yield create_roles(stored, server.endpoint, target).notes
        return
    now = datetime.now(UTC)
    with maintenance_connection(server.endpoint.with_database(SCRATCH_DATABASE)) as connection:
        _drop_left_behind(connection, now)
    comment = f"{_ROLE_COMMENT}{iso_timestamp(now)}"
    created = create_roles(stored, server.endpoint, target, bare=True, comment=comment)
    try:
        yield ()
    finally:
        with maintenance_connection(server.endpoint) as connection:
            _drop_roles(connection, created.names)


def _drop_left_behind(connection: psycopg.Connection[Any], now: datetime) -> None:
    """Drop the copies and roles that killed verifications have left. Others that run now can use the same roles."""
    drop_abandoned_copies(connection, SCRATCH_DATABASE, now)
    drop_abandoned_roles(connection)
    before = f"{_ROLE_COMMENT}{iso_timestamp(now - _MAX_TIME)}"
    left = connection.execute(_ROLES_LEFT, (_ROLE_COMMENT, before)).fetchall()
    _drop_roles(connection, (name for (name,) in left))


def _drop_roles(connection: psycopg.Connection[Any], roles: Iterable[str]) -> None:
    """Drop roles, except those that own something on this server."""
    import psycopg

    for role in roles:
        with suppress(psycopg.errors.DatabaseError):
            connection.execute(f"DROP ROLE IF EXISTS {quoting.identifier(role)}")


def save_result(
    store: Store, backup_set: Set, document: bytes, at: datetime, *, failed: bool, signer: SigningKey | None
) -> None:
    """Store a result beside the set. Its signature is about the manifest of the marker, if that is trusted."""
    about = backup_set.marker.manifest_sha256 if backup_set.marker is not None else ""
    key = backup_set.prefix + result_name(at, document, failed=failed)
    signer = signer if backup_set.untrusted is None else None
    with suppress(ReadOnly):  # the store as it was has no new results
        store.create(sign_name(key, signer, VERIFICATION_NAMESPACE, about), document)


def _damage_as_json(run: Run, backup_set: Set, error: BackupError, at: datetime) -> bytes:
    fields = {
        "set": backup_set.id,
        "at": iso_timestamp(at),
        "outcome": "failed",
        "run": run.id,
        "damage": str(error),
    }
    return to_body(fields)


def _store_settings(environment: Environment) -> StoreSettings:
    if environment.store is None:
        raise BackupError(f"{environment.name} has no [store], so it has no backups")
    return environment.store
