"""Remove old run records, so that their number does not grow with the years."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import takewhile

from inventories import Environment
from jobs.run.record import RecordKey, parse_record_key, record_prefix
from jobs.store import NotDeleted, Store


def remove_old_records(store: Store, environment: Environment, now: datetime) -> tuple[int, list[NotDeleted]]:
    """Remove records older than `[runs] keep`; return how many, and those that could not be removed.

    Lists the old records only.
    """
    prefix = record_prefix(environment.name)
    last_day = f"{prefix}{(now - environment.runs.keep).astimezone(UTC):%Y%m%d}/"
    listed = takewhile(lambda entry: entry.key < last_day, store.list(prefix))
    removed = superseded(filter(None, (parse_record_key(entry, prefix) for entry in listed)))
    refused = list(store.delete(key.key for key in removed))
    return len(removed) - len(refused), refused


def superseded(keys: Iterable[RecordKey]) -> list[RecordKey]:
    """Return all records but the newest of each job and subject."""
    newest: dict[tuple[str, str], str] = {}
    known = list(keys)
    for key in known:
        subject = (key.job, key.subject)
        newest[subject] = max(key.run, newest.get(subject, ""))
    return [key for key in known if key.run != newest[key.job, key.subject]]
