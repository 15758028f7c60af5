"""Backup sets for tests of what is done with them as a whole: keys of the right names, with nothing in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from jobs.backup.sets.sets import prefix
from jobs.store import Store

PARTS = ("defs.0", "data-1.0", "rest.0")


def set_id(at: datetime, tail: str = "3f9a") -> str:
    """The name of a set that was begun then."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"


def keys(at: datetime, *, environment: str = "try", database: str = "shop", complete: bool = True) -> Iterator[str]:
    """The keys of one set, the manifest last."""
    under = prefix(environment, database, set_id(at))
    yield from (under + part for part in PARTS)
    if complete:
        yield f"{under}manifest.json"


def put(store: Store, at: datetime, *also: str, complete: bool = True, database: str = "shop") -> str:
    """Put a set into a store, with more keys such as `pin`; its name is returned."""
    for key in keys(at, complete=complete, database=database):
        store.put(key, b"12345")
    for name in also:
        store.put(prefix("try", database, set_id(at)) + name, b"")
    return set_id(at)


def daily(newest: datetime, count: int) -> Iterable[datetime]:
    """So many days, back from the newest."""
    return [newest - timedelta(days=n) for n in range(count)]
