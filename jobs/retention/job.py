"""The job `retention`: removes the sets that no rule keeps, and what runs that died have left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby

from inventories import Environment, Keep
from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.sets import Set, set_prefix, sets_from_listing
from jobs.backup.sources import is_known, section_of
from jobs.format import and_more, format_size, plural
from jobs.retention.policy import ClockBehind, Decision, apply_policy, require_plausible_clock
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run
from jobs.run.lease import Holder, read_holder
from jobs.store import ListedKey, ListedPrefix, NotDeleted, OpenUpload, Store, StoreError

A_DAY = timedelta(days=1)
KEYS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """What retention finds in one database: each set with its fate, and what runs that died have left."""

    database: str
    decisions: tuple[Decision[Set], ...]
    has_rules: bool
    dead: tuple[Set, ...]
    uploads: tuple[OpenUpload, ...]
    names: Mapping[str, tuple[str, ...]]

    @property
    def removed(self) -> tuple[Set, ...]:
        return tuple(each.set for each in self.decisions if not each.keep)

    @property
    def kept(self) -> tuple[Set, ...]:
        return tuple(each.set for each in self.decisions if each.keep)


def plan_prune(store: Store, environment: Environment, database: str, now: datetime) -> PrunePlan:
    """Decide everything, change nothing. Told from listings and one lock."""
    policy = section_of(environment, database)[0].keep
    under = set_prefix(environment.name, database)
    # Read the lock before listing: a run that ends meanwhile still counts as alive.
    holder = read_holder(store, environment.name, "backup", database)
    names: dict[str, tuple[str, ...]] = {}
    found = list(sets_from_listing(environment.name, _noted(store.list(under), len(under), names)))
    try:
        require_plausible_clock(found, now)
    except ClockBehind as error:
        raise Failed(f"{database}: {error}") from None
    decisions = apply_policy((each for each in found if each.complete), policy, now.astimezone(environment.timezone))
    has_ended = partial(is_abandoned, holder=holder, now=now)
    return PrunePlan(
        database,
        tuple(decisions),
        policy != Keep(),
        tuple(each for each in found if not each.complete and not each.pinned and has_ended(each.started)),
        tuple(each for each in store.open_uploads(under) if has_ended(each.started)),
        names,
    )


def _noted(entries: Iterable[ListedKey], start: int, names: dict[str, tuple[str, ...]]) -> Iterator[ListedKey]:
    """The same entries; what each set has is noted on the way. Most sets have the same, and share one note of it."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    for set_id, group in groupby(entries, key=lambda entry: entry.key[start:].partition("/")[0]):
        those = list(group)
        has = tuple(entry.key[start + len(set_id) + 1 :] for entry in those)
        names[set_id] = known.setdefault(has, has)
        yield from those


def is_abandoned(begun: datetime, holder: Holder | None, now: datetime) -> bool:
    """Whether what was begun then, and is not complete, belongs to a run that is long gone."""
    if now - begun <= A_DAY:
        return False
    is_held = holder is not None and not holder.released and now - holder.last_renewed <= A_DAY
    return not is_held or (holder is not None and begun < holder.since - A_DAY)


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal came to."""

    sets: int
    bytes: int
    swept: int
    versions: int
    refused: tuple[NotDeleted, ...]


def apply_prune(
    store: Store, environment: str, outlook: PrunePlan, check: Callable[[], None], *, versions: bool
) -> Removed:
    """Remove the manifests first, so that a crash leaves left-overs and never a set that lies, then what they named."""
    manifests = {each.prefix + MANIFEST: each for each in outlook.removed}
    refused = list(store.delete(_checked(manifests, check)))
    stay = {manifests[each.key].id for each in refused}
    gone = [each for each in outlook.removed if each.id not in stay]
    left = (
        each.prefix + name for each in (*gone, *outlook.dead) for name in outlook.names[each.id] if name != MANIFEST
    )
    refused += store.delete(_checked(left, check))
    refused += _aborted(store, outlook.uploads)
    forgotten, not_forgotten = store.purge_versions(set_prefix(environment, outlook.database)) if versions else (0, ())
    swept = len(outlook.dead) + len(outlook.uploads)
    return Removed(len(gone), sum(each.size for each in gone), swept, forgotten, (*refused, *not_forgotten))


def _checked(keys: Iterable[str], check: Callable[[], None]) -> Iterator[str]:
    for place, key in enumerate(keys):
        if place % 1000 == 0:
            check()
        yield key


def _aborted(store: Store, uploads: Sequence[OpenUpload]) -> Iterator[NotDeleted]:
    for upload in uploads:
        try:
            store.abort_upload(upload)
        except StoreError as error:
            yield NotDeleted(upload.key, f"its open upload could not be aborted: {error}")


def work(run: Run, *, versions: bool = False) -> Result:
    """Prune one database, or say what would go."""
    outlook = plan_prune(run.store, run.environment, run.subject, run.started)
    if run.options.dry_run:
        table = f"each set's fate: crew backups prune {run.environment.name} {run.subject} --dry-run"
        return Result(Outcome.DONE, f"{dry_run_sentence(outlook)}; {table}")
    done = apply_prune(run.store, run.environment.name, outlook, run.check, versions=versions)
    for each in done.refused:
        run.log.error("not removed", key=each.key, why=each.why)
    return prune_result(outlook, done)


def dry_run_sentence(outlook: PrunePlan) -> str:
    """What a run would do, in a sentence."""
    going = sum(each.size for each in outlook.removed)
    sentence = f"would remove {len(outlook.removed)} of {plural(len(outlook.decisions), 'set')}, {format_size(going)}"
    return "; ".join([sentence, *_about(outlook)])


def _about(outlook: PrunePlan) -> Iterator[str]:
    if not outlook.has_rules:
        yield "keep has no rules, so every set stays"
    if outlook.dead or outlook.uploads:
        parts = plural(len(outlook.dead), "set")
        uploads = plural(len(outlook.uploads), "open upload")
        yield (
            f"left by runs that died: {parts} without a manifest, {uploads}, "
            f"{format_size(sum(each.size for each in outlook.dead))}"
        )


def prune_result(outlook: PrunePlan, done: Removed) -> Result:
    """What a run says of itself; a key that stayed makes it a failure."""
    figures = {
        "removed_sets": done.sets,
        "removed_bytes": done.bytes,
        "kept_sets": len(outlook.decisions) - done.sets,
        "kept_bytes": sum(each.size for each in outlook.kept),
        "swept": done.swept,
        "not_removed": len(done.refused),
    }
    told = [
        f"removed {done.sets} of {plural(len(outlook.decisions), 'set')}, {format_size(done.bytes)}",
        *_about(outlook),
        *([f"removed {plural(done.versions, 'old version')}"] if done.versions else []),
    ]
    if not done.refused:
        return Result(Outcome.DONE, "; ".join(told), figures)
    refused = and_more([f"{each.key}: {each.why}" for each in done.refused], KEYS_SHOWN, "in the log")
    return Result(
        Outcome.FAILED,
        f"could not remove {plural(len(done.refused), 'key')}: {refused}; {'; '.join(told)}",
        figures,
    )


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """The databases of the file, and those of its servers that have sets: also such as are no longer on the server."""
    wanted = options.only or (*environment.databases, *environment.servers)
    for name in wanted:
        section_of(environment, name)
    stored = _stored(environment, store) if any(name in environment.servers for name in wanted) else []
    found = [each for name in wanted for each in _expanded(environment, name, stored)]
    return [name for name in dict.fromkeys(found) if not options.scheduled or schedule(environment, name)]


def _expanded(environment: Environment, name: str, stored: Sequence[str]) -> list[str]:
    if name not in environment.servers:
        return [name]
    return [database for database in stored if database.startswith(f"{name}.")]


def _stored(environment: Environment, store: Store) -> list[str]:
    """The databases that have sets."""
    root = f"{environment.name}/backups/"
    levels = store.folders(root)
    return [level.key[len(root) :].rstrip("/") for level in levels if isinstance(level, ListedPrefix)]


def schedule(environment: Environment, name: str) -> str | None:
    """The cron line of a database, which all databases of a server share."""
    return section_of(environment, name)[0].retention


def retention(*, versions: bool = False) -> Job:
    """The job; with `versions`, one that also removes what a versioned bucket keeps of sets that are gone."""
    return Job("retention", subjects, partial(work, versions=versions), schedule, has_subject=is_known)


RETENTION = retention()
