"""The job `retention`: removes the sets that no rule keeps, and what died runs left behind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

from inventories import Environment, Keep
from jobs.backup import (
    IN_USE,
    MANIFEST,
    MARKER,
    Set,
    UnreadableSet,
    databases_with_sets,
    find_by_id,
    in_its_place,
    is_dated_ahead,
    is_in_use,
    is_known_anywhere,
    open_copy,
    open_first,
    open_separate_copy,
    require_sets_of_servers,
    section_of,
    set_prefix,
    sets_from_listing,
    split_copy,
    subjects_named,
    subjects_of_copy,
    trust_of,
    witness_key,
)
from jobs.format import and_more, format_size, plural
from jobs.retention.broken_off import broke_off
from jobs.retention.lock_renewal import NotRenewed, plan_locks, renew_locks
from jobs.retention.policy import ClockBehind, Decision, apply_policy, require_plausible_clock
from jobs.run.documents import utc_now
from jobs.run.job import Failed, Job, Options, Outcome, Result, Run, UnknownName
from jobs.run.lease import Holder, read_holder
from jobs.run.old_records import remove_old_records
from jobs.store import ListedKey, NotDeleted, ObjectLock, OpenUpload, Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

A_DAY = timedelta(days=1)
COPY_GOES_ON = timedelta(days=6)
"""So much longer than others, an incomplete set of a copy stays: the next run of the copy goes on with it."""

KEYS_SHOWN = 3
MANY_SETS = 10
"""With fewer, a run can remove most of them: `last = 3` can keep no set of the last run."""
LOST_MANIFEST = "kept, because the set was complete and its manifest or signature is gone"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """The decision on each set of one database, and what died runs left behind."""

    database: str
    decisions: tuple[Decision[Set], ...]
    has_rules: bool
    abandoned_sets: tuple[Set, ...]
    abandoned_uploads: tuple[OpenUpload, ...]
    names: Mapping[str, tuple[str, ...]]
    """The names of each set's keys, by set."""
    locked: Mapping[str, datetime] = field(default_factory=dict)
    """When the lock of a set ends that no rule keeps, by set."""
    renewals: Mapping[str, ObjectLock] = field(default_factory=dict)
    """The new object locks of sets that stay, by set."""
    dated_ahead: tuple[Set, ...] = ()
    """Sets dated in the future. No rule counts them, and only a person removes them."""
    lost_manifest: tuple[Set, ...] = ()
    """Sets that were complete and whose manifest is gone. Only a person removes them."""
    copy: str = ""
    """The copy that has the sets; "" if the store of the environment has them."""
    damage: str = ""
    """Why a run must not remove anything."""

    @property
    def removed(self) -> tuple[Set, ...]:
        return tuple(decision.set for decision in self.decisions if not decision.keep)

    @property
    def kept(self) -> tuple[Set, ...]:
        return tuple(decision.set for decision in self.decisions if decision.keep)


def plan_prune(store: Store, environment: Environment, subject: str, now: datetime) -> PrunePlan:
    """Decide what to remove of a database, or of a copy of it, without removing anything.

    Reads listings, one lease, which is in the store of the environment, manifests of sets that always stay, and,
    with `lock`, a lock per set.
    """
    copy, database = split_copy(environment, subject)
    policy = copy.keep if copy is not None else section_of(environment, database)[0].keep
    prefix = set_prefix(environment.name, database)
    # Read the lock before listing: a run that ends meanwhile still counts as alive.
    holder = read_holder(store, environment.name, "backup" if copy is None else "copy", subject)
    records = store
    if copy is not None:
        store = open_separate_copy(store, environment, copy, "retention")
    names: dict[str, tuple[str, ...]] = {}
    changed: dict[str, datetime] = {}
    noted: dict[str, datetime] = {}
    entries = store.list(prefix) if copy is None else _collect_changes(store.list(prefix), len(prefix), changed)
    listing = _collect_names(entries, len(prefix), names, noted)
    sets = list(sets_from_listing(environment.name, listing, trust_of(environment), now))
    dated_ahead = tuple(each for each in sets if is_dated_ahead(each, now))
    candidates = [each for each in sets if each.complete and not is_dated_ahead(each, now)]
    local_now = now.astimezone(environment.timezone)
    decisions = apply_policy(candidates, policy, local_now)
    locks = plan_locks(store, environment.store if copy is None else copy, policy, decisions, local_now)
    used = {set_id for set_id, at in noted.items() if is_in_use(at, now)}
    abandoned = partial(is_abandoned, holder=holder, now=now, goes_on=copy is not None)
    began = {each.id: changed[each.id] + COPY_GOES_ON if copy is not None else each.started for each in sets}
    leftovers = [each for each in sets if not each.complete and not each.pinned and abandoned(began[each.id])]
    lost = tuple(
        each for each in leftovers if each.lost_manifest and (copy is not None or not broke_off(records, each, holder))
    )
    plan = PrunePlan(
        database,
        tuple(_kept_while_used(each, used) for each in locks.decisions),
        policy != Keep(),
        tuple(each for each in leftovers if each not in lost),
        tuple(upload for upload in store.open_uploads(prefix) if abandoned(upload.started)),
        names,
        locks.locked,
        locks.renewals,
        dated_ahead,
        lost,
        copy.name if copy is not None else "",
    )
    return replace(plan, damage=_damage_of_newest(store, plan))


def plan_removal(store: Store, environment: Environment, database: str, set_id: str, now: datetime) -> PrunePlan:
    """Plan to remove one set that no rule of `keep` decides about: untrusted, of the future, or without manifest."""
    plan = plan_prune(store, environment, database, now)
    untrusted = (each.set for each in plan.decisions if each.set.untrusted is not None)
    reasons = {
        **dict.fromkeys(plan.dated_ahead, "dated in the future"),
        **dict.fromkeys(plan.lost_manifest, "its manifest is gone"),
        **{each: f"not trusted ({each.untrusted})" for each in untrusted},
    }
    selected = find_by_id(reasons, database, set_id)
    if selected is None:
        names = ", ".join(each.id for each in reasons) or "none"
        raise UnknownName(
            f"--set {set_id}: {database} has no such set that is untrusted, of the future or without its manifest "
            f"(there are: {names}); the rules of keep decide which other sets are removed"
        )
    if selected.pinned:
        unpin = f"crew backups unpin {environment.name} {database} --set {selected.id}"
        raise Failed(f"set {selected.id} of {database} is pinned; unpin it first: {unpin}")
    _require_unlocked(store, environment, plan.copy, selected, now)
    decision = Decision(selected, keep=False, reasons=(f"{reasons[selected]}, removed by --set",), counters=())
    return PrunePlan(plan.database, (decision,), True, (), (), plan.names, copy=plan.copy)


def _require_unlocked(store: Store, environment: Environment, copy: str, selected: Set, now: datetime) -> None:
    """Raise if object lock still protects a set that a person wants to remove."""
    settings = environment.copies[copy] if copy else environment.store
    if settings is None or settings.lock is None:
        return
    place = open_copy(environment, environment.copies[copy], "retention") if copy else store
    lock = place.object_lock(witness_key(selected))
    if lock is not None and lock.until > now:
        until = f"{lock.until.astimezone(environment.timezone):%Y-%m-%d %H:%M}"
        raise Failed(f"set {selected.id} of {selected.database} is locked until {until}; remove it then")


def _collect_changes(listing: Iterable[ListedKey], start: int, changed: dict[str, datetime]) -> Iterator[ListedKey]:
    """Yield the listing unchanged and fill `changed` with the time of the newest object of each set."""
    for entry in listing:
        set_id = entry.key[start:].partition("/")[0]
        changed[set_id] = max(entry.modified, changed.get(set_id, entry.modified))
        yield entry


def _kept_while_used(decision: Decision[Set], used: Collection[str]) -> Decision[Set]:
    """Return the decision to keep a set that a restore or a verification reads now."""
    if decision.keep or decision.set.id not in used:
        return decision
    return replace(decision, keep=True, reasons=("in use by a restore or a verification",))


def _collect_names(
    listing: Iterable[ListedKey], start: int, names: dict[str, tuple[str, ...]], noted: dict[str, datetime]
) -> Iterator[ListedKey]:
    """Yield the listing unchanged; fill `names`, and `noted` with the times at which sets were noted as in use.

    Sets share the names that they have in common to save memory.
    """
    shared: dict[str, str] = {}
    for set_id, group in groupby(listing, key=lambda entry: entry.key[start:].partition("/")[0]):
        entries = list(group)
        note = f"/{set_id}/{IN_USE}"
        noted.update((set_id, entry.modified) for entry in entries if entry.key.endswith(note))
        of_set = (entry.key[start + len(set_id) + 1 :] for entry in entries)
        names[set_id] = tuple([shared.setdefault(name, name) if "/" not in name else name for name in of_set])
        yield from entries


def is_abandoned(started: datetime, holder: Holder | None, now: datetime, *, goes_on: bool = False) -> bool:
    """Whether something incomplete belongs to a run that died: it is a day old and no live run holds the lock.

    What is older than the live run belongs to another one, unless the live run `goes_on` with it: a copy does.
    """
    if now - started <= A_DAY:
        return False
    is_held = holder is not None and not holder.released and abs(now - holder.last_renewed) <= A_DAY
    return not is_held or (not goes_on and holder is not None and started < holder.since - A_DAY)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed, and the keys that could not be removed."""

    sets: int
    bytes: int
    swept: int
    versions: int
    refused: tuple[NotDeleted, ...]


def apply_prune(
    store: Store, environment: str, plan: PrunePlan, check: Callable[[], None], *, versions: Collection[str] | None
) -> Removed:
    """Remove markers, then manifests, then the other keys. `check` is called regularly and raises to stop the removal.

    A crash leaves sets without a marker, never a manifest without parts, and the next run removes them. It never leaves
    a marker without a manifest: that shows that somebody else removed the manifest. With `versions`, purge the versions
    of these sets, and of those that were deleted before under these prefixes.
    """
    root = set_prefix(environment, plan.database)
    refused: list[NotDeleted] = []

    def remove(sets: Iterable[Set], is_wanted: Callable[[str], bool]) -> list[Set]:
        """Remove these keys of the sets, and return the sets of which all were removed."""
        remaining = list(sets)
        keys = (each.prefix + name for each in remaining for name in plan.names[each.id] if is_wanted(name))
        not_deleted = store.delete(_checking(keys, check))
        refused.extend(not_deleted)
        kept = {each.key.removeprefix(root).partition("/")[0] for each in not_deleted}
        return [each for each in remaining if each.id not in kept]

    unmarked = remove((*plan.removed, *plan.abandoned_sets), lambda name: name.startswith(MARKER))
    incomplete = remove(unmarked, lambda name: name == MANIFEST)
    remove(incomplete, lambda name: name != MANIFEST and not name.startswith(MARKER))
    ended = {each.id for each in incomplete}
    removed = [each for each in plan.removed if each.id in ended]
    refused += _abort(store, plan.abandoned_uploads)
    purged = 0
    if versions is not None:
        wanted = {each.prefix for each in incomplete} | set(versions)
        purged, not_purged = store.purge_versions(root, lambda key: set_of_key(root, key) in wanted)
        refused += not_purged
    swept = len(plan.abandoned_sets) + len(plan.abandoned_uploads)
    return Removed(len(removed), sum(each.size for each in removed), swept, purged, tuple(refused))


def set_of_key(root: str, key: str) -> str:
    """Return the prefix of the set that a key of a database belongs to."""
    return f"{root}{key.removeprefix(root).partition('/')[0]}/"


def sets_deleted_before(store: Store, environment: str, database: str) -> list[str]:
    """Return the prefixes of sets with deleted keys of which the bucket still has versions.

    An earlier run of retention deleted them, or somebody else: then the versions are all that is left of them.
    """
    root = set_prefix(environment, database)
    return sorted({set_of_key(root, key) for key in store.deleted_keys(root)})


def _checking(keys: Iterable[str], check: Callable[[], None]) -> Iterator[str]:
    """Yield the keys, and call `check` before every thousandth."""
    for number, key in enumerate(keys):
        if number % 1000 == 0:
            check()
        yield key


def _abort(store: Store, uploads: Sequence[OpenUpload]) -> Iterator[NotDeleted]:
    """Abort open uploads; yield those that could not be aborted."""
    for upload in uploads:
        try:
            store.abort_upload(upload)
        except StoreError as error:
            yield NotDeleted(upload.key, f"cannot abort its open upload: {error}")


def work(run: Run, *, versions: Collection[str] | None = None, set_id: str | None = None) -> Result:
    """Prune one database, or remove its named set; in a dry run, report what would be removed."""
    there = in_its_place(run)
    if set_id is not None:
        plan = plan_removal(run.store, run.environment, run.subject, set_id, run.started)
    else:
        plan = plan_prune(run.store, run.environment, run.subject, run.started)
        _require_plausible_clock(plan, run.started)
    if run.options.dry_run:
        place = f" --from {plan.copy}" if plan.copy else ""
        details = f"for each set, see crew backups prune {run.environment.name} {plan.database}{place} --dry-run"
        sentence = f"would remove nothing, because {plan.damage}" if plan.damage else dry_run_sentence(plan)
        return Result(Outcome.DONE, f"{sentence}; {details}")
    renewed, not_renewed = renew_locks(there.store, plan.kept, plan.names, plan.renewals, run.check)
    for each in not_renewed:
        run.log.error("lock not renewed", set=each.set, why=each.why)
    if plan.damage:
        return Result(Outcome.FINDING, f"nothing was removed, because {plan.damage}")
    if run.options.scheduled and (before := keeps_too_few(len(plan.kept), run.earlier_figures)):
        return Result(Outcome.FINDING, _too_few_sentence(plan, run.environment.name, before))
    if plan.copy and versions is not None:
        versions = ()  # those that were confirmed are in the store
    removed = apply_prune(there.store, run.environment.name, plan, run.check, versions=versions)
    for refused in removed.refused:
        level = run.log.info if refused.locked_until is not None else run.log.error
        level("not removed", key=refused.key, why=refused.why)
    return prune_result(plan, removed, renewed, not_renewed)


def keeps_too_few(kept: int, earlier: Sequence[Mapping[str, object]]) -> int:
    """Return how many sets the last run kept, if they were many and this run would keep fewer than half; else 0."""
    before = next((kept_then for each in earlier if (kept_then := each.get("kept_sets"))), 0)  # prune --set keeps none
    return before if isinstance(before, int) and before >= MANY_SETS and 2 * kept < before else 0


def _too_few_sentence(plan: PrunePlan, environment: str, before: int) -> str:
    left, place = plural(len(plan.kept), "set"), f" --from {plan.copy}" if plan.copy else ""
    return (
        f"nothing was removed, because only {left} would stay, and the last run kept {before}; "
        "check the clock and keep; if they are right, run by hand: "
        f"crew backups prune {environment} {plan.database}{place}"
    )


def _damage_of_newest(store: Store, plan: PrunePlan) -> str:
    """Return what was changed or deleted in the sets that always stay; "" if they are whole or nothing is removed.

    A listing cannot show that. If the newest sets are of no use, older ones must stay.
    """
    if not plan.removed and not plan.abandoned_sets:
        return ""
    try:
        for decision in plan.decisions:
            if any(reason.startswith("newest") for reason in decision.reasons):
                open_first(store, [decision.set], None)
    except UnreadableSet as error:
        return f"a set that always stays cannot be used: {error}"
    return ""


def _require_plausible_clock(plan: PrunePlan, now: datetime) -> None:
    """Raise if all trusted sets are dated in the future: then it is this machine's clock that is wrong."""
    if any(each.set.untrusted is None for each in plan.decisions):
        return
    try:
        require_plausible_clock((each for each in plan.dated_ahead if each.untrusted is None), now)
    except ClockBehind as error:
        raise Failed(f"{plan.database}: {error}") from None


def dry_run_sentence(plan: PrunePlan) -> str:
    """Return what a run would remove, as one sentence."""
    size = format_size(sum(each.size for each in plan.removed))
    sentence = f"would remove {len(plan.removed)} of {plural(len(plan.decisions), 'set')}, {size}"
    renew = [f"would renew the locks of {plural(len(plan.renewals), 'set')}"] if plan.renewals else []
    return "; ".join([sentence, *renew, *_remarks(plan)])


def _remarks(plan: PrunePlan) -> Iterator[str]:
    if plan.lost_manifest:
        ids = and_more([each.id for each in plan.lost_manifest], KEYS_SHOWN)
        yield f"{LOST_MANIFEST}: {ids}; find out who removed it; to remove a set: crew backups prune --set"
    if not plan.has_rules:
        yield "keep has no rules, so every set is kept"
    if plan.locked:
        last = max(plan.locked.values())
        yield f"kept by object lock alone: {plural(len(plan.locked), 'set')}, until {last:%Y-%m-%d %H:%M} at most"
    if plan.dated_ahead:
        ids = and_more([each.id for each in plan.dated_ahead], KEYS_SHOWN)
        yield f"dated in the future and ignored: {ids}; to remove one: crew backups prune --set"
    if untrusted := [each for each in plan.kept if each.untrusted is not None]:
        see = f"crew backups list {untrusted[0].environment} {plan.database}"
        yield f"{plural(len(untrusted), 'untrusted set')}: {see}"
    if plan.abandoned_sets or plan.abandoned_uploads:
        sets, uploads = plural(len(plan.abandoned_sets), "incomplete set"), len(plan.abandoned_uploads)
        size = format_size(sum(each.size for each in plan.abandoned_sets))
        yield f"left by failed runs: {sets}, {plural(uploads, 'open upload')}, {size}"


def prune_result(plan: PrunePlan, removed: Removed, renewed: int = 0, not_renewed: Sequence[NotRenewed] = ()) -> Result:
    """Return the result of a run; it failed if a key could not be removed for another reason than its lock."""
    locked = [each for each in removed.refused if each.locked_until is not None]
    refused = [each for each in removed.refused if each.locked_until is None]
    figures = {
        "removed_sets": removed.sets,
        "removed_bytes": removed.bytes,
        "kept_sets": len(plan.decisions) - removed.sets,
        "kept_bytes": sum(each.size for each in plan.kept),
        "swept": removed.swept,
        "not_removed": len(refused),
        **({"renewed_locks": renewed} if renewed else {}),
    }
    facts = [
        f"removed {removed.sets} of {plural(len(plan.decisions), 'set')}, {format_size(removed.bytes)}",
        *_remarks(plan),
        *([f"removed {plural(removed.versions, 'old version')}"] if removed.versions else []),
        *([f"renewed the locks of {plural(renewed, 'set')}"] if renewed else []),
        *(_locked_keys(locked) if locked else []),
    ]
    faults = []
    if refused:
        listed = and_more([f"{each.key}: {each.why}" for each in refused], KEYS_SHOWN, "in the log")
        faults.append(f"could not remove {plural(len(refused), 'key')}: {listed}")
    if not_renewed:
        listed = and_more([f"{each.set}: {each.why}" for each in not_renewed], 1, "in the log")
        faults.append(f"could not renew the locks of {plural(len(not_renewed), 'set')}: {listed}")
    outcome = Outcome.FAILED if faults else Outcome.FINDING if plan.lost_manifest else Outcome.DONE
    return Result(outcome, "; ".join([*faults, *facts]), figures)


def _locked_keys(locked: Sequence[NotDeleted]) -> Iterator[str]:
    last = max(each.locked_until for each in locked if each.locked_until is not None)
    yield f"locked, so the next runs remove them: {plural(len(locked), 'key')}, until {last:%Y-%m-%d %H:%M} UTC at most"


def subjects(environment: Environment, store: Store, options: Options) -> list[str]:
    """Return the databases of the file, and all databases with sets of its servers, even if dropped on the server.

    Sets of a copy are removed if the copy is named or has a schedule.
    """
    in_copies = [name for name in options.only if split_copy(environment, name)[0]]
    selected = [name for name in options.only if name not in in_copies]
    if not options.only:
        in_copies = [name for name, copy in environment.copies.items() if copy.retention]
        selected = [*environment.databases, *environment.servers]
    of_servers = [name for name in selected if name not in environment.databases]
    stored = databases_with_sets(environment, store) if of_servers else []
    require_sets_of_servers(environment, of_servers, stored)
    databases = [each for name in selected for each in subjects_named(environment, store, name, stored)]
    databases += [each for name in in_copies for each in subjects_of_copy(environment, name, "retention")]
    return [name for name in dict.fromkeys(databases) if not options.scheduled or schedule(environment, name)]


def schedule(environment: Environment, name: str) -> str | None:
    """Return the cron line of a database, or of a copy; all databases of a server share one."""
    copy, _ = split_copy(environment, name)
    return copy.retention if copy is not None else section_of(environment, name)[0].retention


def remove_records(environment: Environment, store: Store, log: FilteringBoundLogger) -> None:
    """Remove the run records that [runs] keep does not cover."""
    removed, refused = remove_old_records(store, environment, utc_now())
    if removed:
        log.info("old run records removed", records=removed)
    for each in refused[:KEYS_SHOWN]:
        log.warning("run record not removed", key=each.key, why=each.why)


def retention(*, versions: Collection[str] | None = None, set_id: str | None = None) -> Job:
    """Return the job; with `versions`, it also deletes what a versioned bucket still holds of removed sets.

    These are the sets that it removes itself, and the prefixes of sets that were deleted before.

    With `set_id`, it only removes this set, which must be untrusted or dated in the future.
    """
    prune = partial(work, versions=versions, set_id=set_id)
    return Job(
        "retention", subjects, prune, schedule,
        compared=("kept_sets",), finish=remove_records, has_subject=is_known_anywhere,
    )  # fmt: skip


RETENTION = retention()
