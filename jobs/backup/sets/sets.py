"""Which backup sets are in the store: told from listings alone, never by opening a set."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from jobs.backup.sets.manifest import NAME as MANIFEST
from jobs.store import Entry, Store

VERIFIED = "verified.json"
VERIFICATION_FAILED = "verification-failed.json"
PIN = "pin"
_TAGS = "tags/"
_PIECE = re.compile(r"(.+)\.\d+")
_ID = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True)
class Set:
    """One backup set, as far as its keys tell."""

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
        """A set without a manifest does not exist: what lies there was left by a run that died, or still runs."""
        return self.completed is not None

    @property
    def duration(self) -> timedelta | None:
        return self.completed - self.started if self.completed is not None else None

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """Sorts by time, also those that were begun within one second: the one that was complete first is older."""
        return self.started, self.completed or datetime.max.replace(tzinfo=UTC), self.id

    @property
    def prefix(self) -> str:
        return prefix(self.environment, self.database, self.id)


def new_id(at: datetime) -> str:
    """A name that sorts by time and is never given twice."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def started(set_id: str) -> datetime | None:
    """When a set was begun, from its name; None for what is no name of a set."""
    found = _ID.fullmatch(set_id)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def prefix(environment: str, database: str, set_id: str = "") -> str:
    """Where the keys of a set, or of all sets of a database, begin."""
    return f"{environment}/backups/{database}/{set_id}/" if set_id else f"{environment}/backups/{database}/"


def sets(store: Store, environment: str, database: str | None = None) -> Iterator[Set]:
    """All sets of an environment or of one database, complete or not, oldest first within a database."""
    under = prefix(environment, database) if database else f"{environment}/backups/"
    return of_entries(environment, store.list(under))


def of_entries(environment: str, entries: Iterable[Entry]) -> Iterator[Set]:
    """The sets that a listing tells of; what does not look like a set is passed over."""
    root = f"{environment}/backups/"
    deep = (entry for entry in entries if entry.key.startswith(root) and entry.key.count("/", len(root)) >= 2)
    for (database, set_id), group in groupby(deep, key=lambda entry: _owner(entry.key, root)):
        begun = started(set_id)
        if begun is not None:
            under = len(prefix(environment, database, set_id))
            yield _set(environment, database, set_id, begun, {entry.key[under:]: entry for entry in group})


def _owner(key: str, root: str) -> tuple[str, str]:
    database, set_id, _ = key[len(root) :].split("/", 2)
    return database, set_id


def _set(environment: str, database: str, set_id: str, begun: datetime, found: dict[str, Entry]) -> Set:
    return Set(
        environment=environment,
        database=database,
        id=set_id,
        started=begun,
        size=sum(entry.size for name, entry in found.items() if _PIECE.fullmatch(name)),
        completed=_modified(found, MANIFEST),
        verified=_modified(found, VERIFIED),
        failed_verification=_modified(found, VERIFICATION_FAILED),
        pinned=PIN in found,
        tags=tuple(name.removeprefix(_TAGS) for name in found if name.startswith(_TAGS)),
    )


def _modified(found: dict[str, Entry], name: str) -> datetime | None:
    return found[name].modified if name in found else None
