"""Copy a whole store once, to move to another bucket or provider: all trusted sets, and the documents beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from jobs.backup import Set, find_sets
from jobs.copies.plan import is_lacking, is_usable
from jobs.copies.transfer import transfer_sets
from jobs.run.job import Run
from jobs.store import (
    LARGE_DOCUMENT_LIMIT,
    ListedKey,
    NotMarked,
    environments_in,
    make_store,
    mark_key,
    require_another_place,
    require_mark,
)

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.store import Store

READERS = 8
"""Documents that are copied at once. Most have some thousand bytes."""


@dataclass(frozen=True, slots=True)
class NewPlace:
    """The place that a store moves to, as the command line names it."""

    url: str
    region: str = ""
    endpoint: str = ""
    profile: str = ""
    max_parts: int = 10_000
    profiles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MovedDatabase:
    """What was copied of a database, or would be, and how many sets the new place then has."""

    database: str
    copied: Sequence[Set]
    bytes: int
    sets: int
    left: Sequence[Set]
    """Sets that are not copied: incomplete, untrusted or dated in the future."""
    problems: Sequence[str] = ()


def make_new_place(store: Store, target: Store, environment: Environment) -> None:
    """Mark an empty place as a store of the environment; NotMarked if it has data of the environment but no mark."""
    try:
        require_mark(target, environment.name, "--to")
        require_another_place(target, store, environment.name, "--to")
    except NotMarked:
        if environment.name in environments_in(target):
            raise
        make_store(target, environment.name)


def move_database(run: Run, target: Store, database: str) -> MovedDatabase:
    """Copy the sets of a database with their pins, tags and results; in a dry run, find out which."""
    here = list(find_sets(run.store, run.environment, database))
    there = find_sets(target, run.environment, database)
    present = {each.id: each for each in there if is_usable(each, run.started)}
    usable = [each for each in here if is_usable(each, run.started)]
    left = [each for each in here if each not in usable]
    missing = [each for each in usable if is_lacking(each, present.get(each.id))]
    missing.sort(key=lambda each: each.sort_key, reverse=True)
    if run.options.dry_run:
        size = sum(each.size for each in missing)
        return MovedDatabase(database, missing, size, len({*present, *(each.id for each in missing)}), left)
    intact = {each.prefix for each in present.values()}
    done = transfer_sets(run, run.store, target, missing, whole=True, intact=intact)
    ids = {*present, *(each.id for each in done.sets)}
    return MovedDatabase(database, done.sets, done.bytes, len(ids), left, done.problems)


def documents_to_move(source: Store, target: Store, environment: str) -> Iterator[str]:
    """Yield the keys of the documents beside the sets that the new place lacks, or has in an older version."""
    there = {entry.key: entry for entry in _documents(target, environment)}
    for entry in _documents(source, environment):
        known = there.get(entry.key)
        if known is None or known.size != entry.size or known.modified < entry.modified:
            yield entry.key


def move_documents(run: Run, target: Store, keys: Sequence[str]) -> None:
    """Copy documents: run records, locks with the last runs, alerts, saved states and plans."""
    with ThreadPoolExecutor(READERS) as pool:
        for number, _ in enumerate(pool.map(partial(_move_document, run, target), keys), start=1):
            if number % 1000 == 0:
                run.log.info("documents copied", documents=number, of=len(keys))


def _move_document(run: Run, target: Store, key: str) -> None:
    run.check()
    target.put(key, run.store.get(key, LARGE_DOCUMENT_LIMIT).body)


def _documents(store: Store, environment: str) -> Iterator[ListedKey]:
    """Yield what a store has of an environment, but its sets, its mark and what checks wrote."""
    skipped = (f"{environment}/backups/", f"{environment}/check/", mark_key(environment))
    for folder in store.folders(f"{environment}/"):
        if not folder.key.startswith(skipped):
            yield from store.list(folder.key)
