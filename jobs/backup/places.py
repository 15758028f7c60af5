"""The places of backup sets: the store of an environment, and its copies.

A job on a copy has subjects named after the copy and the database: `offsite.shop`, or `offsite.main.shop` for a
database of a server. Its lock, its record and its alerts are in the store, so `crew status` shows it.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from jobs.run.job import Failed, Transient, UnknownName
from jobs.store import NotMarked, Store, open_store, require_another_place, require_mark

if TYPE_CHECKING:
    from datetime import datetime

    from inventories import CopySettings, Environment
    from jobs.run.job import Run


def split_copy(environment: Environment, subject: str) -> tuple[CopySettings | None, str]:
    """Return the copy and the database that a subject names; no copy if the subject is a database or server."""
    name, _, database = subject.partition(".")
    return (environment.copies[name], database) if name in environment.copies else (None, subject)


def find_copy(environment: Environment, name: str) -> CopySettings:
    """Return the copy of this name; UnknownName if the file has none."""
    if name in environment.copies:
        return environment.copies[name]
    known = ", ".join(environment.copies)
    there_are = f"there are: {known}" if known else f"add [copies.{name}] to its file"
    raise UnknownName(f"{environment.name}: there is no copy {name}; {there_are}")


def open_copy(environment: Environment, settings: CopySettings, job: str | None = None) -> Store:
    """Return the store of a copy, opened with the AWS profile of a job; NotMarked if it was not made for this."""
    store = open_store(settings, job)
    require_mark(store, environment.name, f"copies.{settings.name}.url")
    return store


def open_separate_copy(store: Store, environment: Environment, settings: CopySettings, job: str) -> Store:
    """Return the store of a copy as open_copy() does; StoreError if it is the store of the environment itself."""
    place = open_copy(environment, settings, job)
    require_another_place(place, store, environment.name, f"copies.{settings.name}.url")
    return place


def _open_copy_of(run: Run) -> Store:
    settings, _ = split_copy(run.environment, run.subject)
    if settings is None:
        return run.store
    try:
        return open_copy(run.environment, settings, run.job)
    except NotMarked as error:  # the store is marked, so the run has a record
        raise Failed(str(error)) from None


def in_its_place(run: Run, as_of: datetime | None = None) -> Run:
    """Return a run on a copy as one that works on the database in the store of the copy; any other run as it is.

    With `as_of`, it works on the store, or on the copy, as it was at that moment.
    """
    settings, database = split_copy(run.environment, run.subject)
    if settings is None and as_of is None:
        return run
    there = copy.copy(run)
    there.subject = database
    if as_of is not None:
        present = run.store if settings is None else open_store(settings, run.job)
        there.store = present.as_of(as_of)
        return there
    there.store = _open_copy_of(run)
    if not database:
        raise Transient(f"{run.subject}: its databases could not be listed before, but it answers now; try again")
    return there
