"""The job `copy`: copies the sets of each database to a second place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from jobs.backup import (
    BackupError,
    Set,
    databases_with_sets,
    find_copy,
    find_sets,
    has_trusted_set,
    lock_of_new_set,
    open_separate_copy,
    split_copy,
)
from jobs.copies.plan import is_usable, sets_to_copy
from jobs.format import and_more, format_size, plural
from jobs.run.job import Job, Options, Outcome, Result, Run, UnknownName
from jobs.store import NotMarked

if TYPE_CHECKING:
    from inventories import CopySettings, Environment
    from jobs.copies.transfer import Transferred
    from jobs.store import Store

_SHOWN = 3


def work(run: Run) -> Result:
    """Copy what is missing of one database in one copy; in a dry run, report what that is."""
    from jobs.copies.transfer import transfer_sets  # it takes time to import, and a status does without

    settings, database = split_copy(run.environment, run.subject)
    if settings is None:
        raise UnknownName(f"--only {run.subject}: this is not a copy; name COPY or COPY.DATABASE")
    try:
        target = open_separate_copy(run.store, run.environment, settings, "copy")
    except NotMarked as error:
        raise BackupError(str(error)) from None
    here = list(find_sets(run.store, run.environment, database))
    there = list(find_sets(target, run.environment, database))
    wanted = sets_to_copy(here, there, settings.keep, run.started.astimezone(run.environment.timezone))
    size = format_size(sum(each.size for each in wanted))
    if run.options.dry_run:
        return Result(Outcome.DONE, f"would copy {plural(len(wanted), 'set')}, {size}, to {settings.name}")
    lock = lock_of_new_set(settings, settings.keep, run.started)
    intact = [each for each in there if is_usable(each, run.started) and not each.has_failed]
    done = transfer_sets(run, run.store, target, wanted, lock=lock, intact={each.prefix for each in intact})
    complete = {each.id: each for each in (*intact, *done.sets, *done.right)}
    return copy_result(
        settings.name,
        done,
        complete.values(),
        not_copied=_failed(here, complete),
        failed_there=[each for each in there if each.has_failed],
    )


def _failed(here: Sequence[Set], copied: Collection[str]) -> list[Set]:
    """Return the sets that are not copied because they failed their last verification."""
    return [each for each in here if each.complete and each.id not in copied and each.has_failed]


def copy_result(
    name: str,
    done: Transferred,
    complete: Collection[Set],
    *,
    not_copied: Sequence[Set],
    failed_there: Sequence[Set] = (),
) -> Result:
    """Return the result of a run: a finding if a set could not be copied."""
    newest = max(complete, key=lambda each: each.sort_key, default=None)
    has = f"{plural(len(complete), 'set')}, the newest {newest.id}" if newest else "no set yet"
    facts = [f"copied {plural(len(done.sets), 'set')}, {format_size(done.bytes)}; {name} has {has}"]
    if not_copied:
        ids = and_more([each.id for each in not_copied], _SHOWN)
        facts.append(f"not copied, because the last verification failed: {ids}")
    repaired = {each.id for each in (*done.sets, *done.right)}
    if again := [each.id for each in failed_there if each.id in repaired]:
        facts.append(f"checked all pieces, because the last verification in {name} failed: {and_more(again, _SHOWN)}")
        facts.append("copied those that were wrong, so verify again")
    if failed := [each.id for each in failed_there if each.id not in repaired]:
        facts.append(f"failed verification in {name} and not repaired: {and_more(failed, _SHOWN)}")
    figures: dict[str, int | float | str] = {
        "copied_sets": len(done.sets),
        "copied_bytes": done.bytes,
        "sets": len(complete),
        "damaged_sets": len(done.problems),
        **({"newest_timestamp_seconds": newest.started.timestamp()} if newest else {}),
    }
    if not done.problems:
        return Result(Outcome.DONE, "; ".join(facts), figures)
    problems = and_more(list(done.problems), _SHOWN)
    sentence = f"could not copy {plural(len(done.problems), 'set')}: {problems}; {'; '.join(facts)}"
    return Result(Outcome.FINDING, sentence, figures, about="; ".join(sorted(done.problems)))


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return a subject for each copy and each of its databases that has a trusted set."""
    names = options.only or tuple(environment.copies)
    copies = {name: find_copy(environment, name.partition(".")[0]) for name in names}
    wanted = {name: settings for name, settings in copies.items() if not options.scheduled or settings.at}
    stored = databases_with_sets(environment, store) if wanted else []
    found = (_subjects(environment, store, name, settings, stored) for name, settings in wanted.items())
    return list(dict.fromkeys(each for of_copy in found for each in of_copy))


def _subjects(
    environment: Environment, store: Store, name: str, settings: CopySettings, stored: Sequence[str]
) -> list[str]:
    """Return the subjects that a name selects: one database of a copy, or all that the copy has."""
    _, _, database = name.partition(".")
    if database and database not in stored:
        known = and_more(list(stored), _SHOWN) or "none"
        raise UnknownName(f"--only {name}: {database} has no backup sets; databases with sets: {known}")
    selected = [database] if database else [each for each in stored if is_copied(settings, each)]
    return [
        f"{settings.name}.{each}"
        for each in selected
        if each in environment.databases or has_trusted_set(environment, store, each)
    ]


def is_copied(settings: CopySettings, database: str) -> bool:
    """Whether the patterns of a copy name a database."""
    return not settings.databases or any(fnmatchcase(database, pattern) for pattern in settings.databases)


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of a copy."""
    line = find_copy(environment, name.partition(".")[0]).at
    return str(line) if line is not None else None


def has_subject(environment: Environment, name: str) -> bool:
    """Whether the file still names the copy, and the copy the database."""
    settings, database = split_copy(environment, name)
    return settings is not None and is_copied(settings, database)


def limit(_environment: Environment, _subject: str) -> timedelta:
    """Return the time limit of a copy: the first one can have terabytes to send. The next run goes on where it ends."""
    return timedelta(days=1)


COPY = Job(
    "copy",
    subjects,
    work,
    schedule,
    limit,
    outlasts=timedelta(minutes=15),
    max_parallel=1,
    compared=("newest_timestamp_seconds",),
    has_subject=has_subject,
)
