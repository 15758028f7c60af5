"""Run records: one per run, stored under the run's tick, or under its start if it has no tick."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from jobs.run.documents import from_body, from_iso, key_time, key_timestamp, to_body
from jobs.run.job import Notice, Outcome
from jobs.run.lease import Holder, holder_from, lock_prefix
from jobs.run.ticks import Gap
from jobs.store import Missing, Store

_KEY = re.compile(r".+/\d{8}T\d{6}Z[^/]*\.json")


@dataclass(frozen=True, slots=True)
class Record:
    """The record of one run of one job on one subject."""

    environment: str
    job: str
    subject: str
    run: str
    tick: datetime | None
    started: datetime
    ended: datetime
    outcome: Outcome
    sentence: str
    figures: Mapping[str, int | float | str]
    about: str
    attempts: int
    stopped: str | None
    host: str
    pid: int
    scheduled: bool
    took_over: str | None
    missed: Gap | None
    log: tuple[str, ...]
    notice: Notice | None = None
    details: object = None  # from Result.details; not stored

    @property
    def name(self) -> str:
        return f"{self.job}/{self.subject}"

    @property
    def duration(self) -> timedelta:
        return self.ended - self.started

    @property
    def complete(self) -> bool:
        """Whether its tick needs no further run."""
        return self.outcome in (Outcome.DONE, Outcome.FINDING)


def record_prefix(environment: str, job: str | None = None, subject: str | None = None) -> str:
    return "/".join(part for part in (environment, "runs", job, subject) if part) + "/"


def tick_key(environment: str, job: str, subject: str, tick: datetime) -> str:
    return f"{record_prefix(environment, job, subject)}{key_timestamp(tick)}.json"


def record_to(record: Record) -> bytes:
    """Return a record as it is stored."""
    fields = asdict(replace(record, details=None))
    del fields["details"]
    return to_body(fields)


def record_from(key: str, body: bytes) -> Record:
    """Parse a stored record; Failed if a newer groundcrew wrote it."""
    return from_body(key, body, _parse)


def _parse(fields: dict[str, Any]) -> Record:
    gap, notice = fields["missed"], fields["notice"]
    return Record(
        **{
            **fields,
            **{name: from_iso(fields[name]) for name in ("tick", "started", "ended")},
            "outcome": Outcome(fields["outcome"]),
            "missed": gap
            and Gap(gap["ticks"], datetime.fromisoformat(gap["first"]), datetime.fromisoformat(gap["last"])),
            "log": tuple(fields["log"]),
            "notice": notice and Notice(**{**notice, "keys": tuple(notice["keys"])}),
        }
    )


def read_record(store: Store, key: str) -> Record | None:
    try:
        return record_from(key, store.get(key).body)
    except Missing:
        return None


def record_keys(store: Store, environment: str, job: str | None = None, subject: str | None = None) -> list[str]:
    """Return the keys of all records, newest first, by LIST calls only. Other keys are ignored."""
    keys = (entry.key for entry in store.list(record_prefix(environment, job, subject)) if _KEY.fullmatch(entry.key))
    return sorted(keys, key=lambda key: key.rsplit("/", 1)[1], reverse=True)


def records(store: Store, environment: str, job: str | None = None, subject: str | None = None) -> Iterator[Record]:
    """Yield records, newest first; each is read when it is needed."""
    read = (read_record(store, key) for key in record_keys(store, environment, job, subject))
    return (record for record in read if record)


def latest_records(store: Store, environment: str) -> list[Record]:
    """Return the newest record of each job and subject."""
    return latest_by_subject(store, record_keys(store, environment))


def latest_by_subject(store: Store, newest_first: Iterable[str]) -> list[Record]:
    """Return the newest record of each job and subject among these keys."""
    newest: dict[str, str] = {}
    for key in newest_first:
        newest.setdefault(key.rsplit("/", 1)[0], key)
    return [record for record in (read_record(store, key) for key in sorted(newest.values())) if record]


def tick_of_key(key: str) -> datetime | None:
    """Return the tick in a record's key; None for a run that was started by hand."""
    try:
        time = key_time(key)
    except ValueError:
        return None
    return time if key.endswith(f"/{key_timestamp(time)}.json") else None


def last_tick(store: Store, environment: str, job: str, subject: str, before: datetime) -> datetime | None:
    """Return the newest tick before a time that has a record of any outcome."""
    ticks = map(tick_of_key, record_keys(store, environment, job, subject))
    return next((tick for tick in ticks if tick and tick < before), None)


def lock_holders(store: Store, environment: str) -> dict[str, Holder]:
    """Return the holders of all locks by `<job>/<subject>`, including holders that died."""
    prefix = lock_prefix(environment)
    holders = {
        entry.key.removeprefix(prefix).removesuffix(".json"): holder_from(entry.key, store.get(entry.key).body)
        for entry in store.list(prefix)
    }
    return {name: holder for name, holder in holders.items() if not holder.released}


def live_holders(store: Store, environment: str, now: datetime) -> dict[str, Holder]:
    """Return the holders of all locks that have not expired."""
    return {name: holder for name, holder in lock_holders(store, environment).items() if not holder.expired(now)}
