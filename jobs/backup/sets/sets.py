"""Find backup sets by listing keys in the store. No object is read."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING

from jobs.backup.sets.manifest import MANIFEST, NUMBERS_PER_TRY
from jobs.backup.sets.marker import MARKER, Marker, parse_markers
from jobs.backup.sets.results import RESULTS, VerificationResult, results_in
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE
from jobs.backup.sets.trust import NOT_ENCRYPTED, Trust, trust_of
from jobs.run.documents import key_time, key_timestamp, utc_now
from jobs.store import ListedKey, Store

if TYPE_CHECKING:
    from inventories import Environment

PIN = "pin"
SIGNATURE = f"{MANIFEST}.sig"
CLOCK_TOLERANCE = timedelta(days=1)
_DAYS_LISTED = (8, 40)
_MARKERS_CHECKED = 100  # of one set: each signature takes time, and somebody can plant thousands
_TAGS = "tags/"
_PIECE = re.compile(r"(.+)\.[0-9]+")
_PIECE_OF_LATER_TRY = re.compile(r".+\.[0-9]{5,9}")
_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Set:
    """One backup set, as its keys in the store show it."""

    environment: str
    database: str
    id: str
    started: datetime
    size: int
    completed: datetime | None
    """None without a manifest and, if a trusted key signed the set, its signature. Often its run failed or goes on."""
    pinned: bool
    tags: tuple[str, ...]
    trust: Trust
    marker: Marker | None = None
    results: tuple[VerificationResult, ...] = ()
    """The results of verifications, newest first, also those that nobody signed."""

    @property
    def complete(self) -> bool:
        return self.completed is not None

    @property
    def untrusted(self) -> str | None:
        """Why a complete set is not trusted. It is checked at first use, because that takes time."""
        if self.trust.encrypted and self.marker is not None and not self.marker.encrypted:
            return NOT_ENCRYPTED
        name, among = (self.marker.name, self.marker.among) if self.marker is not None else ("", 0)
        fault = self.trust.fault_of_name(self.prefix + name, MANIFEST_NAMESPACE)
        return f"it has {among:,} markers instead of one" if fault and among > _MARKERS_CHECKED else fault

    @property
    def lost_manifest(self) -> bool:
        """Whether a trusted marker says that the set was complete, but its manifest or signature is gone."""
        return not self.complete and self.marker is not None and self.untrusted is None

    @property
    def signed_manifest(self) -> str | None:
        """The hash of the manifest that a trusted key signed for this set; None if none did."""
        signed = self.trust.required and self.marker is not None and self.untrusted is None
        return self.marker.manifest_sha256 if self.marker is not None and signed else None

    @property
    def result(self) -> VerificationResult | None:
        """The newest result of a verification that is trusted."""
        return next(filter(self.trusts_result, self.results), None)

    def trusts_result(self, result: VerificationResult) -> bool:
        """Whether a trusted key signed the result for the manifest that the marker names."""
        about = self.marker.manifest_sha256 if self.marker is not None else ""
        return self.trust.fault_of_name(self.prefix + result.name, VERIFICATION_NAMESPACE, about) is None

    @property
    def verified(self) -> datetime | None:
        """When the last verification succeeded; None if it failed."""
        result = self.result
        return result.at if result is not None and not result.failed else None

    @property
    def is_verified(self) -> bool:
        """Whether the last verification succeeded."""
        return self.verified is not None

    @property
    def failed_verification(self) -> datetime | None:
        """When the last verification failed; None if it succeeded."""
        if not any(each.failed for each in self.results):
            return None
        result = self.result
        return result.at if result is not None and result.failed else None

    @property
    def has_failed(self) -> bool:
        """Whether the last verification failed."""
        return self.failed_verification is not None

    @property
    def duration(self) -> timedelta | None:
        return self.completed - self.started if self.completed is not None else None

    @property
    def sort_key(self) -> tuple[datetime, datetime, str]:
        """A key that sorts sets by time. Of two sets started in the same second, the one completed first is older."""
        return self.started, self.completed or datetime.max.replace(tzinfo=UTC), self.id

    @property
    def prefix(self) -> str:
        return set_prefix(self.environment, self.database, self.id)


def new_set_id(at: datetime) -> str:
    """Return a new set ID, which sorts by time."""
    return f"{key_timestamp(at)}-{secrets.token_hex(2)}"


def set_timestamp(set_id: str) -> datetime | None:
    """Return the start time in a set ID; None for a malformed ID."""
    try:
        return key_time(set_id) if _ID.fullmatch(set_id) else None
    except ValueError:  # a month 13, for example
        return None


def set_prefix(environment: str, database: str, set_id: str = "") -> str:
    """Return the key prefix of a set, or of all sets of a database."""
    return f"{environment}/backups/{database}/{set_id}/" if set_id else f"{environment}/backups/{database}/"


def is_dated_ahead(backup_set: Set, now: datetime) -> bool:
    """Whether a set starts in the future: the clock of its machine, or of this one, is wrong by more than a day."""
    return backup_set.started > now + CLOCK_TOLERANCE


def find_sets(store: Store, environment: Environment, database: str | None = None) -> Iterator[Set]:
    """Yield all sets of an environment or database, also incomplete ones, by database and then oldest first."""
    prefix = set_prefix(environment.name, database) if database else f"{environment.name}/backups/"
    return sets_from_listing(environment.name, store.list(prefix), trust_of(environment))


@dataclass(frozen=True, slots=True)
class NewestSets:
    """The newest sets of a database, oldest first, and whether these are all of its sets."""

    sets: tuple[Set, ...]
    are_all: bool


def find_newest_sets(
    store: Store,
    environment: str,
    database: str,
    now: datetime,
    enough: Callable[[Sequence[Set]], bool],
    *,
    trust: Trust,
) -> NewestSets:
    """Return the sets of the last days; list further back only until the complete and trusted ones are enough."""
    prefix, until, found = set_prefix(environment, database), "", list[Set]()
    begins = [f"{prefix}{key_timestamp(now - timedelta(days=days))}/" for days in _DAYS_LISTED]
    for begin in (*begins, ""):
        in_time = _before(until, store.list(prefix, begin))
        found = [*sets_from_listing(environment, in_time, trust, now), *found]
        until = begin
        if enough([each for each in found if each.complete and each.untrusted is None]):
            break
    return NewestSets(tuple(found), are_all=until == "")


def _before(key: str, listing: Iterable[ListedKey]) -> Iterable[ListedKey]:
    """Return a listing up to a key; without a key, all of it."""
    return takewhile(lambda entry: not key or entry.key < key, listing)


def sets_from_listing(
    environment: str, entries: Iterable[ListedKey], trust: Trust, now: datetime | None = None
) -> Iterator[Set]:
    """Yield the sets in a listing, and skip keys that belong to no set."""
    latest = (now or utc_now()) + CLOCK_TOLERANCE
    for prefix, keys in _by_set(entries, f"{environment}/backups/"):
        database, set_id = prefix.split("/")[-3:-1]
        started = set_timestamp(set_id)
        if started is not None:
            marker = _marker(prefix, keys, trust)
            yield Set(
                environment=environment,
                database=database,
                id=set_id,
                started=started,
                size=_size_of_pieces(keys),
                completed=_completed(prefix, keys, marker, trust),
                pinned=PIN in keys,
                tags=tuple([name.removeprefix(_TAGS) for name in keys if name.startswith(_TAGS)]),
                trust=trust,
                marker=marker,
                results=results_in([name for name in keys if name.startswith(RESULTS)], latest),
            )


def _size_of_pieces(keys: Mapping[str, ListedKey]) -> int:
    """Return the bytes of a set's pieces. Of a part that was dumped again, only the last try counts."""
    pieces = {name: entry.size for name, entry in keys.items() if "/" not in name and _PIECE.fullmatch(name)}
    again = dict[str, int]()
    for name in filter(_PIECE_OF_LATER_TRY.fullmatch, pieces):
        part, _, number = name.rpartition(".")
        again[part] = max(again.get(part, 0), int(number) // NUMBERS_PER_TRY)
    if not again:
        return sum(pieces.values())
    split = ((name.rpartition("."), size) for name, size in pieces.items())
    return sum(size for (part, _, number), size in split if int(number) // NUMBERS_PER_TRY == again.get(part, 0))


def _by_set(entries: Iterable[ListedKey], root: str) -> Iterator[tuple[str, dict[str, ListedKey]]]:
    """Yield the prefix of each set in a sorted listing, and its keys by their names in the set."""
    prefix, keys = root, dict[str, ListedKey]()
    for entry in entries:
        if not keys or not entry.key.startswith(prefix):
            if keys:
                yield prefix, keys
            prefix, keys = _set_prefix_of(entry.key, root), {}
        if prefix:
            keys[entry.key[len(prefix) :]] = entry
    if keys:
        yield prefix, keys


def _set_prefix_of(key: str, root: str) -> str:
    """Return the part of a key that all keys of its set begin with; nothing if it belongs to no set."""
    levels = key.removeprefix(root).split("/", 2)
    return f"{root}{levels[0]}/{levels[1]}/" if key.startswith(root) and len(levels) > 2 else ""


def _marker(prefix: str, keys: dict[str, ListedKey], trust: Trust) -> Marker | None:
    """Return the marker of a set. Of several, the signed one; one alone is not checked before it matters."""
    markers = parse_markers([name for name in keys if name.startswith(MARKER)])
    if len(markers) > 1:
        checked = (replace(each, among=len(markers)) for each in markers[:_MARKERS_CHECKED])
        signed = (each for each in checked if trust.fault_of_name(prefix + each.name, MANIFEST_NAMESPACE) is None)
        return next(signed, replace(markers[0], among=len(markers)))
    return markers[0] if markers else None


def _completed(prefix: str, keys: dict[str, ListedKey], marker: Marker | None, trust: Trust) -> datetime | None:
    """Return when a complete set ended: as its marker says, or else when its manifest was written here."""
    if MANIFEST not in keys:
        return None
    if marker is None:
        return keys[MANIFEST].modified
    if (
        trust.required
        and SIGNATURE not in keys
        and trust.fault_of_name(prefix + marker.name, MANIFEST_NAMESPACE) is None
    ):
        return None
    return marker.ended
