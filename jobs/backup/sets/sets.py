"""Find backup sets by listing keys in the store. No object is read."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, takewhile

from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.results import VERIFIED, VerificationResult, newest_result, parse_precise_timestamp
from jobs.run.documents import key_time, key_timestamp, utc_now
from jobs.store import ListedKey, Store

PIN = "pin"
ENDED = "ended/"
CLOCK_TOLERANCE = timedelta(days=1)
_DAYS_LISTED = (8, 40)
_EARLIER_FAILURE = "verification-failed.json"  # written before results had keys of their own
_TAGS = "tags/"
_PIECE = re.compile(r"(.+)\.[0-9]+")
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
    verified: datetime | None
    failed_verification: datetime | None
    pinned: bool
    tags: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether the set has a manifest. Without one, its run has died or has not finished yet."""
        return self.completed is not None

    @property
    def is_verified(self) -> bool:
        """Whether the last verification succeeded."""
        return self.verified is not None and not self.has_failed

    @property
    def has_failed(self) -> bool:
        """Whether the last verification failed."""
        failed = self.failed_verification
        return failed is not None and (self.verified is None or self.verified < failed)

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


def find_sets(store: Store, environment: str, database: str | None = None) -> Iterator[Set]:
    """Yield all sets of an environment or database, also incomplete ones, by database and then oldest first."""
    prefix = set_prefix(environment, database) if database else f"{environment}/backups/"
    return sets_from_listing(environment, store.list(prefix))


@dataclass(frozen=True, slots=True)
class NewestSets:
    """The newest sets of a database, oldest first, and whether these are all of its sets."""

    sets: tuple[Set, ...]
    are_all: bool


def find_newest_sets(
    store: Store, environment: str, database: str, now: datetime, enough: Callable[[Sequence[Set]], bool]
) -> NewestSets:
    """Return the sets of the last days; list further back only until the complete ones are enough."""
    prefix, until, found = set_prefix(environment, database), "", list[Set]()
    begins = [f"{prefix}{key_timestamp(now - timedelta(days=days))}/" for days in _DAYS_LISTED]
    for begin in (*begins, ""):
        in_time = _before(until, store.list(prefix, begin))
        found = [*sets_from_listing(environment, in_time, now), *found]
        until = begin
        if enough([each for each in found if each.complete]):
            break
    return NewestSets(tuple(found), are_all=until == "")


def _before(key: str, listing: Iterable[ListedKey]) -> Iterable[ListedKey]:
    """Return a listing up to a key; without a key, all of it."""
    return takewhile(lambda entry: not key or entry.key < key, listing)


def sets_from_listing(environment: str, entries: Iterable[ListedKey], now: datetime | None = None) -> Iterator[Set]:
    """Yield the sets in a listing, and skip keys that belong to no set."""
    latest = (now or utc_now()) + CLOCK_TOLERANCE
    root = f"{environment}/backups/"
    in_sets = (entry for entry in entries if entry.key.startswith(root) and entry.key.count("/", len(root)) >= 2)
    for (database, set_id), group in groupby(in_sets, key=lambda entry: _database_and_set(entry.key, root)):
        started = set_timestamp(set_id)
        if started is not None:
            start = len(set_prefix(environment, database, set_id))
            yield _set(
                environment, database, set_id, started, {entry.key[start:]: entry for entry in group}, latest=latest
            )


def _database_and_set(key: str, root: str) -> tuple[str, str]:
    database, set_id, _ = key[len(root) :].split("/", 2)
    return database, set_id


def _set(
    environment: str, database: str, set_id: str, started: datetime, keys: dict[str, ListedKey], *, latest: datetime
) -> Set:
    result = _newest_result(keys, latest)
    return Set(
        environment=environment,
        database=database,
        id=set_id,
        started=started,
        size=sum(entry.size for name, entry in keys.items() if _PIECE.fullmatch(name)),
        completed=_completed(keys),
        verified=result.at if result and not result.failed else None,
        failed_verification=result.at if result and result.failed else None,
        pinned=PIN in keys,
        tags=tuple(name.removeprefix(_TAGS) for name in keys if name.startswith(_TAGS)),
    )


def _completed(keys: dict[str, ListedKey]) -> datetime | None:
    """Return when a complete set ended: from a key's name, or else when the manifest was written here."""
    if MANIFEST not in keys:
        return None
    names = (name.removeprefix(ENDED) for name in keys if name.startswith(ENDED))
    ended = (at for name in names if (at := parse_precise_timestamp(name)) is not None)
    return max(ended, default=keys[MANIFEST].modified)


def _newest_result(keys: dict[str, ListedKey], latest: datetime) -> VerificationResult | None:
    """Return the newest result. A success counts only with its document, and an earlier one by its document's time."""
    result = newest_result(keys, latest)
    if result is not None:
        return result if result.failed or VERIFIED in keys else None
    earlier = ((VERIFIED, False), (_EARLIER_FAILURE, True))
    results = (VerificationResult(keys[name].modified, failed) for name, failed in earlier if name in keys)
    return max(results, default=None)
