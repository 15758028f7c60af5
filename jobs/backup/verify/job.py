"""The job `verify`: which sets it verifies, and when."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from jobs.backup.places import open_copy, split_copy
from jobs.backup.sets.choose_set import choose_set
from jobs.backup.sets.sets import find_sets
from jobs.backup.sources import (
    databases_with_sets,
    has_trusted_set,
    is_known,
    is_known_anywhere,
    require_sets_of_servers,
    section_of,
    subjects_named,
    subjects_of_copy,
)
from jobs.run.job import Job, Options, Result, Run
from jobs.store import Store, open_store

if TYPE_CHECKING:
    from inventories import Environment


def work(run: Run, set_id: str | None = None, *, trust_unsigned: bool = False, as_of: datetime | None = None) -> Result:
    """Verify a set: the one with this id, or the newest that is not verified yet."""
    from jobs.backup.verify.verify import verify_subject  # it takes time to import, and a status does without

    return verify_subject(run, set_id, trust_unsigned=trust_unsigned, as_of=as_of)


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return the databases to verify: those in the store that the environment file still names.

    Those of a copy are verified if the copy is named or has a schedule.
    """
    in_copies = [name for name in options.only if split_copy(environment, name)[0]]
    if not options.only:
        in_copies = [name for name, copy in environment.copies.items() if copy.verify]
    of_copies = [each for name in in_copies for each in subjects_of_copy(environment, name, "verify")]
    only = tuple(name for name in options.only if name not in in_copies)
    if options.only and not only:
        return of_copies
    return [*_subjects_of_store(environment, store, replace(options, only=only)), *of_copies]


def _subjects_of_store(environment: Environment, store: Store, options: Options) -> list[str]:
    stored = databases_with_sets(environment, store)
    require_sets_of_servers(environment, set(options.only) - {*stored}, stored)
    if options.only:
        return [each for name in options.only for each in subjects_named(environment, store, name, stored)]
    configured = [name for name, database in environment.databases.items() if database.verify is not None]
    of_servers = [name for name in stored if name not in environment.databases and is_known(environment, name)]
    trusted = [name for name in of_servers if has_trusted_set(environment, store, name)]
    names = [name for name in dict.fromkeys([*stored, *configured]) if name in environment.databases or name in trusted]
    return [name for name in names if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of the verifications of a database, or of a copy."""
    copy, _ = split_copy(environment, name)
    line = copy.verify if copy is not None else section_of(environment, name)[0].verify
    return str(line) if line is not None else None


def limit(environment: Environment, name: str) -> timedelta:
    """Return the time limit of a verification."""
    return section_of(environment, name)[0].limits.run if is_known(environment, name) else timedelta(hours=6)


def verify_job(set_id: str | None, *, trust_unsigned: bool = False, as_of: datetime | None = None) -> Job:
    """Return the job for one named set, or for the newest one that is not verified; with `as_of`, in the past."""
    verify = partial(work, set_id=set_id, trust_unsigned=trust_unsigned)
    if as_of is None:
        return replace(VERIFY, work=verify, subjects=partial(_subjects_with_set, set_id=set_id))
    verify = partial(_work_as_of, set_id=set_id, trust_unsigned=trust_unsigned, as_of=as_of)
    return replace(VERIFY, work=verify, subjects=partial(_subjects_as_of, set_id=set_id, as_of=as_of))


def _work_as_of(run: Run, *, set_id: str | None, trust_unsigned: bool, as_of: datetime) -> Result:
    result = work(run, set_id, trust_unsigned=trust_unsigned, as_of=as_of)
    past = f"the store was read as of {as_of:%Y-%m-%d %H:%M %Z}, so the result is not stored beside the set"
    return replace(result, sentence=f"{result.sentence}; {past}")


def _subjects_as_of(
    environment: Environment, store: Store, options: Options, *, set_id: str | None, as_of: datetime
) -> list[str]:
    """Return the named subjects: what the store has today says nothing about them."""
    for name in options.only:
        copy, database = split_copy(environment, name)
        place = store if copy is None else open_store(copy, "verify")
        choose_set(find_sets(place.as_of(as_of), environment, database), database, set_id, any_complete=True)
    return list(options.only)


def _subjects_with_set(environment: Environment, store: Store, options: Options, *, set_id: str | None) -> list[str]:
    """Return the databases to verify, or raise before any run starts if one does not have the named set."""
    names = subjects(environment, store, options)
    for name in names if set_id is not None else ():
        copy, database = split_copy(environment, name)
        place = store if copy is None else open_copy(environment, copy, "verify")
        choose_set(find_sets(place, environment, database), database, set_id)
    return names


VERIFY = Job(
    "verify", subjects, work, schedule, limit,
    outlasts=timedelta(minutes=15),
    max_parallel=1, compared=("seconds",), has_subject=is_known_anywhere,
)  # fmt: skip
