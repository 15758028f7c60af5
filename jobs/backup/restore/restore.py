"""Restoring a set: into an empty database, into a new one, or beside one whose place it then takes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any

from jobs.backup.errors import BackupError
from jobs.backup.postgres import copies, programs, quoting
from jobs.backup.postgres import settings as of_database
from jobs.backup.postgres.connection import Reached, translated_errors
from jobs.backup.postgres.programs import Program
from jobs.backup.restore import target
from jobs.backup.restore.check import differences, sentence
from jobs.backup.restore.compare import Name
from jobs.backup.restore.fill import Filling, fill
from jobs.backup.restore.pg_restore import Manner
from jobs.backup.restore.roles import bare, for_missing
from jobs.backup.restore.selection import Selection
from jobs.backup.restore.tables import fill_tables
from jobs.backup.restore.target import TargetState
from jobs.backup.sets.manifest import PartKind, Settings
from jobs.backup.sets.stored import StoredSet, pour
from jobs.run.job import Failed, Run, Transient
from jobs.run.stop import Stopped

if TYPE_CHECKING:
    import psycopg


class Way(Enum):
    """How a set gets to where it is wanted."""

    INTO_EMPTY = "into an empty database"
    AS_NEW = "into a new database"
    IN_PLACE_OF = "beside the database whose place it takes"
    INTO_USED = "into a database that has other tables"


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore has done, for people to read."""

    database: str
    set: str
    way: Way
    kept: str | None
    made: tuple[str, ...]
    notes: tuple[str, ...]


def way(place: TargetState, *, create: bool, replaces: bool, some: bool = False) -> Way:
    """What is allowed, given what stands there; `some` tables may join others."""
    name = place.database
    if some and replaces:
        raise BackupError("--replace with --tables would leave nothing but these: leave one of them out")
    if place.standby:
        raise BackupError(f"{name}: this server is a standby, which can't be written to; restore into its primary")
    if not place.exists:
        if create:
            return Way.AS_NEW
        raise BackupError(f"there is no database {name} on this server; let the restore make it with --create")
    if replaces:
        return Way.IN_PLACE_OF
    if create:
        raise BackupError(f"database {name} exists already: leave out --create, or put another in its place: --replace")
    if place.objects and some:
        return Way.INTO_USED
    if place.objects:
        raise BackupError(
            f"database {name} is not empty (it has {place.objects} tables, functions and the like); "
            "--replace restores beside it and swaps the names, keeping the old one; or restore into another database"
        )
    return Way.INTO_EMPTY


def restore(
    stored: StoredSet,
    into: Reached,
    place: TargetState,
    run: Run,
    chosen: Way,
    *,
    jobs: int = 2,
    tables: Sequence[str] = (),
) -> Restored:
    """Bring a set, or some of its tables, to a database."""
    filling = Filling(stored, into, restorer(stored, place), run, jobs, manner(place), tuple(tables))
    roles = make_roles(stored, into, place)
    kept = (
        copies.replaced_name(into.database, datetime.now(UTC), place.databases) if chosen is Way.IN_PLACE_OF else None
    )
    if chosen is Way.INTO_USED:
        notes = _into_used(filling, place)
    elif chosen is Way.INTO_EMPTY:
        notes = _into_empty(filling, place)
    else:
        notes = beside(filling, place, kept)
    return Restored(into.database, stored.manifest.set, chosen, kept, roles.roles, (*roles.notes, *notes))


def restorer(stored: StoredSet, place: TargetState) -> Program:
    """The pg_restore for this set and this server."""
    return programs.restorer(place.major, stored.archive, programs.installed("pg_restore"))


def manner(place: TargetState) -> Manner:
    """What the restoring role may give away: without superuser rights everything becomes its own."""
    return Manner(
        owners=place.superuser,
        privileges=place.superuser,
        tablespaces=place.tablespaces,
        subscriptions=place.superuser,
    )


@dataclass(frozen=True, slots=True)
class Made:
    """The roles that a restore has made, and what was refused."""

    roles: tuple[str, ...]
    notes: tuple[str, ...]


def make_roles(stored: StoredSet, into: Reached, place: TargetState, *, names_only: bool = False) -> Made:
    """Make the roles that are missing; those that exist are left alone."""
    script = io.BytesIO()
    for part in stored.parts(PartKind.ROLES):
        pour(stored, part, script)
    missing = for_missing(script.getvalue().decode(), place.roles)
    if names_only or not place.superuser:
        missing = bare(missing)
    with target.maintenance(into) as server:
        refused = {one.role: note for one in missing if (note := _try(server, one.text, f"role {one.role}"))}
        there = target.roles(server)
    whose = f"{place.user} is no superuser: all that was restored belongs to it, and privileges were not given"
    return Made(
        roles=tuple(role for role in dict.fromkeys(one.role for one in missing) if role in there),
        notes=(*(() if place.superuser else (whose,)), *refused.values()),
    )


def _try(server: psycopg.Connection[Any], statement: str, what: str) -> str | None:
    """Run a statement without which the restore is still good; what the server has against it is a note."""
    import psycopg

    from inventories import redact

    try:
        server.execute(statement)
    except psycopg.errors.DuplicateObject:
        return None
    except psycopg.errors.DatabaseError as error:
        if server.closed:
            raise
        return f"{what} could not be set up: {redact(str(error.diag.message_primary))}"
    return None


def _into_empty(filling: Filling, place: TargetState) -> tuple[str, ...]:
    name = filling.into.database
    with _telling_what_stands(filling.into, place, "empty it before the next try (DROP DATABASE, CREATE DATABASE)"):
        notes = _fill(filling)
    with target.maintenance(filling.into) as server:
        return (*notes, *give(server, name, filling.stored.manifest.settings, place))


def _into_used(filling: Filling, place: TargetState) -> tuple[str, ...]:
    """Tables join others: what they need of types, functions and schemas is taken to be there."""
    with _telling_what_stands(filling.into, place, "drop these tables before the next try"):
        selection = fill_tables(filling, filling.tables, alone=False)
        check(filling, selection.tables)
    return _left_out(selection)


@contextmanager
def _telling_what_stands(into: Reached, before: TargetState, advice: str) -> Iterator[None]:
    """A restore that fails in a database that somebody made can't take back what it did: it says so."""
    try:
        yield
    except (Failed, Transient, Stopped) as error:
        if _objects(into) == before.objects:
            raise
        raise type(error)(f"{error}; {into.database} holds a part of the set now: {advice}") from None


def _objects(into: Reached) -> int | None:
    """None when the server can't be asked any more."""
    try:
        return target.target_state(into).objects
    except (Failed, Transient):
        return None


def _fill(filling: Filling, *, statistics: bool = True) -> tuple[str, ...]:
    """Everything, or the tables that were asked for with all that they need."""
    if not filling.tables:
        fill(filling, statistics=statistics)
        return ()
    selection = fill_tables(filling, filling.tables, alone=True)
    check(filling, selection.tables)
    return _left_out(selection)


def _left_out(selection: Selection) -> tuple[str, ...]:
    if not selection.left_out:
        return ()
    return (f"left out, for they belong to other tables too: {', '.join(selection.left_out)}",)


def beside(
    filling: Filling, place: TargetState, kept: str | None, cleaned: Callable[[Filling], None] | None = None
) -> tuple[str, ...]:
    """Fill a database of another name, check it, give it its settings and then its name; or leave no trace.

    What is `cleaned` is to be like the database that it replaces, and keeps no statistics of what it was before.
    """
    into, manifest, run = filling.into, filling.stored.manifest, filling.run
    with target.maintenance(into) as server:
        old = of_database.ask(server, into.database) if place.exists else None
    wanted = settings_for(manifest.settings, old, like_the_old=cleaned is not None)
    with fresh(into, manifest.settings, place) as copy:
        there = replace(filling, into=copy)
        with (
            translated_errors(),
            copy.connect(autocommit=True),
        ):  # tells other restores that this copy is not a dead one's
            left_out = _fill(there, statistics=cleaned is None)
            if not filling.tables:
                check(there)
            with target.maintenance(into) as server:
                notes = (*left_out, *give(server, copy.database, replace(wanted, connection_limit=-1), place))
            if cleaned is not None:
                cleaned(there)
        with target.maintenance(into) as server:
            server.execute(of_database.limit(copy.database, wanted))
        with run.step("swap"):
            target.swap(into, copy.database, kept or "", replaces=place.exists, run=run)
    return notes


def settings_for(manifest: Settings, old: Settings | None, *, like_the_old: bool) -> Settings:
    """The set's own settings; who owns a replaced database and may use it stays as it was there."""
    if old is None:
        return manifest
    if like_the_old:
        return old
    return replace(manifest, owner=old.owner, privileges=old.privileges)


def check(filling: Filling, only: frozenset[Name] | None = None) -> None:
    """Hold the filled database against the manifest; nothing that differs takes a name over."""
    with filling.run.step("check"):
        found = differences(filling, only)
    if found:
        told_ones = "; ".join(sentence(one) for one in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise BackupError(
            f"what was restored is not what set {filling.stored.manifest.set} promised: {told_ones}{more}"
        )


@contextmanager
def fresh(into: Reached, settings: Settings, place: TargetState) -> Iterator[Reached]:
    """A new database beside the one asked for, closed to all but superusers; dropped again unless all goes well."""
    now = datetime.now(UTC)
    name = copies.restoring_name(into.database, now)
    with target.maintenance(into) as server:
        target.sweep(server, into.database, now)
        _create(server, of_database.create(name, settings, place.major, closed=place.superuser))
    try:
        yield into.named(name)
    except (Failed, Transient, Stopped) as error:
        raise _after_dropping(into, name, error, place) from None
    except BaseException:
        target.drop(into, name)
        raise


def _after_dropping(into: Reached, name: str, error: Failed | Transient | Stopped, before: TargetState) -> Exception:
    """The error with what stands there once the copy is gone; with a word about the copy where that can't be."""
    try:
        target.drop(into, name)
    except (Failed, Transient) as why:
        return type(error)(f"{error}; the unfinished {name} could not be dropped ({why}): the next restore drops it")
    stands = f"{into.database} is as it was" if before.exists else f"no database {into.database} was made"
    return type(error)(f"{error}; {stands}")


def _create(server: psycopg.Connection[Any], statement: str) -> None:
    import psycopg

    try:
        server.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise BackupError(f"{error.diag.message_primary}: to restore beside takes a role with CREATEDB") from None
    except (psycopg.errors.WrongObjectType, psycopg.errors.InvalidParameterValue, psycopg.errors.FeatureNotSupported,
            psycopg.errors.InvalidObjectDefinition) as error:  # fmt: skip
        raise BackupError(
            "this server can't make a database with the locale of the one that was backed up: "
            f"{error.diag.message_primary}; install it there, or make an empty database yourself and restore into that"
        ) from None


def give(server: psycopg.Connection[Any], database: str, wanted: Settings, place: TargetState) -> tuple[str, ...]:
    """Give a database its owner, comment, limits, settings and privileges; what is refused is told."""
    roles = target.roles(server)
    if not place.superuser:
        wanted = replace(wanted, owner=place.user)
    notes = (
        _try(server, statement, f"a setting of {quoting.name(database)}")
        for statement in of_database.give(database, wanted, roles)
    )
    return tuple(dict.fromkeys(note for note in notes if note is not None))
