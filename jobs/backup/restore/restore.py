"""Restore a backup set into an empty database, a new one, or a new one that replaces the old one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import copies, programs, quoting
from jobs.backup.postgres import settings as database_settings
from jobs.backup.postgres.connection import DISABLE_TIMEOUTS, Endpoint, translated_errors
from jobs.backup.postgres.extensions import configuration_fault
from jobs.backup.postgres.programs import ClientProgram
from jobs.backup.postgres.settings import DatabaseProperties
from jobs.backup.restore.chosen_owner import (
    ChosenOwner,
    executed_for,
    missing_role_statements,
    require_restorable_for,
    with_role,
)
from jobs.backup.restore.compare import QualifiedName, compare, difference_text, sequence_notes
from jobs.backup.restore.count import count_contents
from jobs.backup.restore.definitions import objects_of_others, require_restorable, statements_of_set
from jobs.backup.restore.fill import fill
from jobs.backup.restore.lock import RestoreLock, restore_lock
from jobs.backup.restore.ordinary_role import OrdinaryRole, require_owner
from jobs.backup.restore.pg_restore import DefinitionOptions
from jobs.backup.restore.roles import LONGEST_STATEMENT, RoleStatement, makes_ordinary, names_only
from jobs.backup.restore.selection import Selection
from jobs.backup.restore.statistics import views_of_hidden_rows
from jobs.backup.restore.swap import swap
from jobs.backup.restore.tables import fill_tables, select_from_set
from jobs.backup.restore.target import (
    RestoreTarget,
    closed_to_others,
    create_copy,
    drop_abandoned_copies,
    drop_database,
    inspect_target,
    maintenance_connection,
    read_settings,
    require_open,
    role_names,
)
from jobs.backup.restore.task import RestoreTask
from jobs.backup.sets.stored import StoredSet
from jobs.format import and_more, plural
from jobs.run.job import Failed, Run, Transient
from jobs.run.stop import Stopped

if TYPE_CHECKING:
    import psycopg

_SHOWN = 5
_MAY_CREATE_DATABASES = """SELECT rolsuper OR rolcreatedb FROM pg_catalog.pg_roles
    WHERE rolname OPERATOR(pg_catalog.=) current_user"""


class RestoreMode(Enum):
    """Where a set is restored to."""

    EMPTY_DATABASE = "into an empty database"
    NEW_DATABASE = "into a new database"
    REPLACE = "into a new database that replaces the old one"
    ADD_TABLES = "into a database that has other tables"

    @property
    def adds(self) -> bool:
        return self is RestoreMode.ADD_TABLES


@dataclass(frozen=True, slots=True)
class Restored:
    """The result of a restore."""

    database: str
    set: str
    mode: RestoreMode
    kept_as: str | None
    created_roles: tuple[str, ...]
    notes: tuple[str, ...]


def choose_mode(target: RestoreTarget, *, create: bool, replaces: bool, only_tables: bool = False) -> RestoreMode:
    """Return how to restore, or raise if the options do not fit the target."""
    name = target.database
    if only_tables and replaces:
        raise BackupError(
            "--replace does not work with --tables: the new database would have no other tables; use one of them"
        )
    if target.standby:
        raise BackupError(f"{name}: this server is a standby, which is read-only; restore into its primary")
    if not target.exists:
        if create:
            return RestoreMode.NEW_DATABASE
        remedy = "use --create instead of --replace" if replaces else "add --create to create it"
        raise BackupError(f"database {name} does not exist on this server; {remedy}")
    if replaces:
        return RestoreMode.REPLACE
    if create:
        raise BackupError(f"database {name} already exists; omit --create, or use --replace to replace the database")
    if target.objects and only_tables:
        return RestoreMode.ADD_TABLES
    if target.objects:
        objects = plural(target.objects, "table, function or other object", "tables, functions and other objects")
        raise BackupError(
            f"database {name} is not empty: it has {objects}; use --replace "
            "to restore into a new database, swap the names and keep the old one, or restore into another database"
        )
    return RestoreMode.EMPTY_DATABASE


def restore_set(
    stored: StoredSet,
    into: Endpoint,
    target: RestoreTarget,
    run: Run,
    mode: RestoreMode,
    *,
    streams: int = 2,
    tables: Sequence[str] = (),
    role: OrdinaryRole | None = None,
    owner: ChosenOwner | None = None,
) -> Restored:
    """Restore a set, or some of its tables, into a database that no other restore writes to."""
    with restore_lock(into) as lock:
        target = _require_unchanged(target, inspect_target(into), mode)
        task = _task(stored, into, target, run, streams=streams, tables=tables, role=role)
        return _restore(replace(task, into=lock.into), lock, target, mode, owner)


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore would do: restore these tables (empty: all), and create these roles."""

    tables: tuple[str, ...]
    roles: tuple[str, ...]


def plan_restore(
    stored: StoredSet,
    into: Endpoint,
    target: RestoreTarget,
    run: Run,
    mode: RestoreMode,
    *,
    tables: Sequence[str] = (),
    role: OrdinaryRole | None = None,
    owner: ChosenOwner | None = None,
) -> RestorePlan:
    """Take every decision of restore_set(), and raise as it would; change nothing."""
    with restore_lock(into):
        target = _require_unchanged(target, inspect_target(into), mode)
        return _plan(_task(stored, into, target, run, streams=1, tables=tables, role=role), target, mode, owner)


def _plan(task: RestoreTask, target: RestoreTarget, mode: RestoreMode, owner: ChosenOwner | None) -> RestorePlan:
    into_copy = mode in (RestoreMode.NEW_DATABASE, RestoreMode.REPLACE)
    if into_copy:
        require_createdb(task.into, target)
    if not task.tables:
        require_configured(task, is_copy=into_copy)
    if task.role is not None:
        if mode is RestoreMode.EMPTY_DATABASE:
            require_owner(task.into, task.role)
            require_open(task.into)
        require_restorable(task, task.role.name)
    selection = select_from_set(task, with_needed=mode is not RestoreMode.ADD_TABLES) if task.tables else None
    if owner is not None:
        if mode is RestoreMode.EMPTY_DATABASE:
            require_open(task.into)
        selected = {*selection.own, *selection.needed} if selection is not None else None
        require_restorable_for(task, target, owner, selected)
    roles = dict.fromkeys(statement.role for statement in missing_role_statements(task.stored, target))
    tables = sorted(selection.tables) if selection is not None else []
    return RestorePlan(tuple(".".join(name) for name in tables), tuple(roles))


def superuser_warnings(stored: StoredSet, into: Endpoint, target: RestoreTarget, run: Run) -> list[str]:
    """Return what to know before a superuser restores the database of a superuser: whose functions run as superuser."""
    if not target.superuser:
        return []
    owner = stored.description.settings.owner
    if makes_ordinary(statements_of_set(stored), owner):
        return [
            f"functions of the set run as the superuser {target.user} during the restore, because the owner of the "
            f"database, {owner}, is a superuser here, and was none at the server of the backup. If you do not trust "
            "this owner, add: --as ROLE"
        ]
    others = objects_of_others(_task(stored, into, target, run, streams=1, tables=(), role=None))
    if not others:
        return []
    return [
        f"functions of the set run as the superuser {target.user} during the restore, because a superuser owns the "
        f"database. Others have objects in it: {and_more(others, _SHOWN)}. If you do not trust them, add: --as ROLE"
    ]


def require_configured(task: RestoreTask, *, is_copy: bool) -> None:
    """Raise if the server is not configured for the extensions of the set."""
    names = [extension.name for extension in task.stored.description.extensions]
    with maintenance_connection(task.into) as server:
        fault = configuration_fault(names, read_settings(server), task.into.database, is_copy=is_copy)
    if fault:
        raise BackupError(f"{task.into.database}: {fault}")


def require_createdb(into: Endpoint, target: RestoreTarget) -> None:
    """Raise if the restoring role cannot create a database."""
    with maintenance_connection(into) as server:
        row = server.execute(_MAY_CREATE_DATABASES).fetchone()
    if row != (True,):
        raise BackupError(
            f"{target.user} cannot create a database, which this restore needs; "
            f"ALTER ROLE {quoting.identifier(target.user)} CREATEDB, or restore as another role"
        )


def _task(
    stored: StoredSet,
    into: Endpoint,
    target: RestoreTarget,
    run: Run,
    *,
    streams: int,
    tables: Sequence[str],
    role: OrdinaryRole | None,
) -> RestoreTask:
    program, options = pg_restore_for(stored, target), definition_options(target)
    return with_role(RestoreTask(stored, into, program, run, streams, options, tuple(tables)), role)


def _require_unchanged(before: RestoreTarget, now: RestoreTarget, mode: RestoreMode) -> RestoreTarget:
    """Return the target as it is now, or raise if the mode was chosen for another state of it."""
    if now.exists != before.exists or (mode is RestoreMode.EMPTY_DATABASE and now.objects):
        raise BackupError(f"database {now.database} has changed since this restore began; start the restore again")
    return now


def _restore(
    task: RestoreTask, lock: RestoreLock, target: RestoreTarget, mode: RestoreMode, owner: ChosenOwner | None
) -> Restored:
    stored, into = task.stored, task.into
    _plan(task, target, mode, owner)  # before anything changes
    roles = create_roles(stored, into, target)
    kept_as = None
    if mode is RestoreMode.REPLACE:
        kept_as = copies.replaced_name(into.database, datetime.now(UTC), target.databases)
    with executed_for(task, target, owner, is_member=mode is RestoreMode.ADD_TABLES) as executed:
        if mode is RestoreMode.ADD_TABLES:
            notes = _add_tables(executed, target)
        elif mode is RestoreMode.EMPTY_DATABASE:
            notes = _restore_into_empty(executed, target)
        else:
            notes = restore_and_swap(executed, target, kept_as, lock)
    return Restored(into.database, stored.manifest.set, mode, kept_as, roles.names, (*roles.notes, *notes))


def pg_restore_for(stored: StoredSet, target: RestoreTarget) -> ClientProgram:
    """Return the pg_restore that can read this set and write to this server."""
    return programs.restore_program(target.major, stored.dump_major, programs.installed_clients("pg_restore"))


def definition_options(target: RestoreTarget) -> DefinitionOptions:
    """Return what the restoring role may create. Without superuser rights it owns everything itself."""
    return DefinitionOptions(
        owners=target.superuser,
        privileges=target.superuser,
        tablespaces=target.tablespaces,
        subscriptions=target.superuser,
    )


@dataclass(frozen=True, slots=True)
class CreatedRoles:
    """The roles that a restore created, and notes on what the server refused."""

    names: tuple[str, ...]
    notes: tuple[str, ...]


def create_roles(
    stored: StoredSet, into: Endpoint, target: RestoreTarget, *, bare: bool = False, comment: str | None = None
) -> CreatedRoles:
    """Create the missing roles, optionally without passwords and memberships. Existing roles do not change."""
    statements = missing_role_statements(stored, target)
    if bare or not target.superuser:
        statements = names_only(statements)
    with maintenance_connection(into) as server:
        refused = {
            statement.role: note for statement in statements if (note := _create_or_note(server, statement, comment))
        }
        existing = role_names(server)
    not_superuser = (
        f"{target.user} is not a superuser, so it owns everything that was restored, and privileges were not restored"
    )
    return CreatedRoles(
        names=tuple(role for role in dict.fromkeys(statement.role for statement in statements) if role in existing),
        notes=(*(() if target.superuser else (not_superuser,)), *refused.values()),
    )


def _create_or_note(server: psycopg.Connection[Any], statement: RoleStatement, comment: str | None) -> str | None:
    if not statement.text:
        return f"a setting of role {statement.role} was not restored: it is longer than {LONGEST_STATEMENT >> 10} KiB"
    return _execute_or_note(server, _commented(statement, comment), f"role {statement.role}")


def _commented(statement: RoleStatement, comment: str | None) -> str:
    """Return the statement, and one that sets the comment of the role: the server executes both or none."""
    if comment is None:
        return statement.text
    return f"{statement.text} COMMENT ON ROLE {quoting.identifier(statement.role)} IS {quoting.literal(comment)}"


def _execute_or_note(server: psycopg.Connection[Any], statement: str, what: str) -> str | None:
    """Execute an optional statement. Return a note if the server refuses it, for example because it is not UTF-8."""
    import psycopg

    from inventories import redact

    try:
        server.execute(statement.encode(errors="surrogateescape"))
    except psycopg.errors.DuplicateObject:
        return None
    except psycopg.errors.DatabaseError as error:
        if server.closed:
            raise
        return f"{what} could not be restored: {redact(str(error.diag.message_primary))}"
    return None


def _restore_into_empty(task: RestoreTask, target: RestoreTarget) -> tuple[str, ...]:
    advice = "drop and create the database before you try again (DROP DATABASE, CREATE DATABASE)"
    closed: AbstractContextManager[None] = nullcontext()
    if target.superuser and task.role is None:  # it executes the whole set with superuser rights
        closed, advice = closed_to_others(task.into), f"only superusers can connect to it; {advice}"
    with closed, _reporting_partial_restore(task.into, target, advice):
        notes = _fill(task)
    with maintenance_connection(task.into) as server:
        return (*notes, *apply_properties(server, task.into.database, task.stored.description.settings, target))


def _add_tables(task: RestoreTask, target: RestoreTarget) -> tuple[str, ...]:
    """Restore tables into a database that already has the types, functions and schemas that they need."""
    with _reporting_partial_restore(task.into, target, "drop these tables before you try again"):
        selection, counted = fill_tables(task, with_needed=False)
        require_same_contents(task, counted, selection.tables)
    return _left_out_note(selection)


@contextmanager
def _reporting_partial_restore(into: Endpoint, before: RestoreTarget, advice: str) -> Iterator[None]:
    """Add to an error that the database now has objects of the set: a restore into an existing database stays."""
    try:
        yield
    except (Failed, Transient, Stopped) as error:
        if _objects(into) == before.objects:
            raise
        kind = BackupError if isinstance(error, Transient) else type(error)  # a further try would find the objects
        raise kind(f"{error}; {into.database} now holds a part of the set: {advice}") from None


def _objects(into: Endpoint) -> int | None:
    """Return the number of objects; None if the server does not answer."""
    try:
        return inspect_target(into).objects
    except (Failed, Transient):
        return None


def _fill(task: RestoreTask, *, statistics: bool = True) -> tuple[str, ...]:
    """Restore everything, or the tables of the task with all that they need, and compare it with its description."""
    if not task.tables:
        counted = fill(task, statistics=statistics)
        notes = views_of_hidden_rows(task) if statistics else ()
        return (*notes, *require_same_contents(task, counted))
    selection, counted = fill_tables(task, with_needed=True)
    require_same_contents(task, counted, selection.tables)
    return (*_left_out_note(selection), *views_of_hidden_rows(task))


def _left_out_note(selection: Selection) -> tuple[str, ...]:
    if not selection.left_out:
        return ()
    return (f"not restored, because they need more than the selected tables: {', '.join(selection.left_out)}",)


def restore_and_swap(
    task: RestoreTask,
    target: RestoreTarget,
    kept_as: str | None,
    lock: RestoreLock,
    sanitise: Callable[[RestoreTask], None] | None = None,
) -> tuple[str, ...]:
    """Restore into a copy, compare it with its description, and rename it. A failure drops the copy.

    With `sanitise`, the new database gets the properties of the one that it replaces. It gets no statistics before
    `sanitise` has changed the rows.
    """
    into, from_set, run = task.into, task.stored.description.settings, task.run
    with maintenance_connection(into) as server:
        old = database_settings.read_properties(server, into.database)[0] if target.exists else None
    properties = choose_properties(from_set, old, keep_old=sanitise is not None)
    kept_comment = copies.without_refresh_comment(old.comment) if old is not None else None
    if sanitise is not None:
        kept_comment = copies.refresh_comment(into.database)
    with new_copy(into, from_set, target, task.role) as copy:
        copy_task = replace(task, into=copy)
        # The open connection shows other restores that this copy is not abandoned.
        with translated_errors(), copy.connect(autocommit=True) as connection:
            connection.execute(DISABLE_TIMEOUTS)
            filled = _fill(copy_task, statistics=sanitise is None)
            with maintenance_connection(into) as server:
                closed = replace(properties, connection_limit=-1, privileges=(), private=False)
                if task.role is not None:  # it owns the database until nothing runs as this role any more
                    closed = replace(closed, owner=task.role.name if sanitise else task.role.final_owner)
                notes = (*filled, *apply_properties(server, copy.database, closed, target))
            if sanitise is not None:
                sanitise(copy_task)
                if task.role is not None:
                    task.role.hand_over(copy)
        with maintenance_connection(into) as server:
            _admit_all(server, copy.database, properties, target, by_limit=target.superuser and task.role is None)
        with run.step("swap"):
            lock.require_held()
            swap(into, copy.database, kept_as, kept_comment, run)
    return notes


def choose_properties(
    from_set: DatabaseProperties, old: DatabaseProperties | None, *, keep_old: bool
) -> DatabaseProperties:
    """Return the properties of the set with owner and privileges of the old database, or all of the old database.

    Settings can be secret. So with `keep_old`, none of the set's are used even if there is no old database.
    """
    if old is None and keep_old:
        return replace(from_set, comment=None, connection_limit=-1, settings=())
    if old is None:
        return from_set
    if keep_old:
        return old
    return replace(from_set, owner=old.owner, privileges=old.privileges, private=old.private)


def require_same_contents(
    task: RestoreTask, counted: Mapping[QualifiedName, int], only: frozenset[QualifiedName] | None = None
) -> tuple[str, ...]:
    """Raise if the restored database differs from its description. Return notes on sequences.

    Tables that were `counted` while they got their rows are not read again.
    """
    description = task.stored.description
    with task.run.step("check"):
        contents = count_contents(task, only, known=counted)
        differences = compare(description, contents, only)
    if differences:
        listed = and_more([difference_text(difference) for difference in differences], _SHOWN)
        raise BackupError(f"the restored database differs from set {task.stored.manifest.set}: {listed}")
    return sequence_notes(description.sequences, contents.sequences) if only is None else ()


@contextmanager
def new_copy(
    into: Endpoint, properties: DatabaseProperties, target: RestoreTarget, role: OrdinaryRole | None = None
) -> Iterator[Endpoint]:
    """Create a database with a temporary name, closed to all but us and superusers. Drop it if the block fails.

    With a role, which restores it, no connection limit closes the database, because this role gets it later.
    """
    now = datetime.now(UTC)
    create_statement = partial(
        database_settings.create_statement,
        properties=properties,
        major=target.major,
        tablespace=target.tablespace,
        closed=True,
    )
    with maintenance_connection(into) as server:
        drop_abandoned_copies(server, into.database, now)
        name, _ = create_copy(into.database, now, lambda name: _create(server, create_statement(name)))
    try:
        with maintenance_connection(into) as server:
            by_limit = target.superuser and role is None
            for statement in database_settings.admit_restore_statements(name, superuser=by_limit):
                server.execute(statement)
        yield into.with_database(name)
    except (Failed, Transient, Stopped) as error:
        raise _after_dropping(into, name, error, target) from None
    except BaseException:
        drop_database(into, name)
        raise


def _after_dropping(into: Endpoint, name: str, error: Failed | Transient | Stopped, before: RestoreTarget) -> Exception:
    """Drop the copy. Return the error with the state of the target, or with the reason why the copy still exists."""
    try:
        drop_database(into, name)
    except (Failed, Transient) as reason:
        return type(error)(
            f"{error}; the unfinished copy {name} could not be dropped ({reason}): the next restore drops it"
        )
    state = f"{into.database} is unchanged" if before.exists else f"database {into.database} was not created"
    return type(error)(f"{error}; {state}")


def _create(server: psycopg.Connection[Any], statement: str) -> None:
    import psycopg

    try:
        server.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(
            f"{error.diag.message_primary}; restore as a role that has CREATEDB, and CREATE on the tablespace"
        ) from None
    except (psycopg.errors.WrongObjectType, psycopg.errors.InvalidParameterValue, psycopg.errors.FeatureNotSupported,
            psycopg.errors.InvalidObjectDefinition) as error:  # fmt: skip
        raise BackupError(
            "this server cannot create a database with the locale of the backed-up database: "
            f"{error.diag.message_primary}; install the locale, or create an empty database and restore into it"
        ) from None


def owned_by(properties: DatabaseProperties, user: str) -> DatabaseProperties:
    """Return the properties with another owner, who keeps all privileges."""
    if not properties.privileges and not properties.private:
        return replace(properties, owner=user)
    return replace(properties, owner=user, privileges=(*properties.privileges, f"ALL TO {quoting.identifier(user)}"))


def _admit_all(
    server: psycopg.Connection[Any],
    database: str,
    properties: DatabaseProperties,
    target: RestoreTarget,
    *,
    by_limit: bool,
) -> None:
    """Let all connect to a restored copy whom its properties allow to. `by_limit`: a connection limit excluded them."""
    if not target.superuser:
        properties = owned_by(properties, target.user)
    roles = role_names(server)
    if properties.owner in roles:
        server.execute(database_settings.owner_statement(database, properties.owner))
    for statement in database_settings.admit_all_statements(database, properties, roles, superuser=by_limit):
        server.execute(statement)


def apply_properties(
    server: psycopg.Connection[Any], database: str, properties: DatabaseProperties, target: RestoreTarget
) -> tuple[str, ...]:
    """Set owner, comment, limits, settings and privileges of a database. Return notes on what the server refused."""
    roles = role_names(server)
    if not target.superuser:
        properties = owned_by(properties, target.user)
    notes = (
        _execute_or_note(server, statement, f"a setting of {quoting.identifier(database)}")
        for statement in database_settings.alter_statements(database, properties, roles)
    )
    return tuple(dict.fromkeys(note for note in notes if note is not None))
