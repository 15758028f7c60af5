"""Backup sets without contents, for tests that work with whole sets: keys with the right names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from jobs.backup.sets.sets import set_prefix
from jobs.store import Store

PARTS = ("defs.0", "data-1.0", "rest.0")


def set_id(at: datetime, tail: str = "3f9a") -> str:
    """Return the id of a set that started at this time."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"


def keys(at: datetime, *, environment: str = "try", database: str = "shop", complete: bool = True) -> Iterator[str]:
    """Yield the keys of one set, the manifest last."""
    prefix = set_prefix(environment, database, set_id(at))
    yield from (prefix + part for part in PARTS)
    if complete:
        yield f"{prefix}manifest.json"


def put(store: Store, at: datetime, *extra_keys: str, complete: bool = True, database: str = "shop") -> str:
    """Write a set into a store, with additional keys such as `pin`. Return its id."""
    for key in keys(at, complete=complete, database=database):
        store.put(key, b"12345")
    for name in extra_keys:
        store.put(set_prefix("try", database, set_id(at)) + name, b"")
    return set_id(at)


def daily(newest: datetime, count: int) -> Iterable[datetime]:
    """Return the newest time and the same time on the days before it, `count` in all."""
    return [newest - timedelta(days=n) for n in range(count)]
