"""What ran: one record per run, kept in the store under the time it started, or its tick."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from jobs.run.documents import from_body, from_iso, key_timestamp, to_body, to_iso
from jobs.run.job import Notice, Outcome
from jobs.run.lease import Holder, holder_from
from jobs.run.ticks import Gap
from jobs.store import Missing, Store

_KEY = re.compile(r".+/\d{8}T\d{6}Z[^/]*\.json")


@dataclass(frozen=True, slots=True)
class Record:
    """How one run of one job on one subject went."""

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
    tidings: Notice | None = None

    @property
    def name(self) -> str:
        return f"{self.job}/{self.subject}"

    @property
    def duration(self) -> timedelta:
        return self.ended - self.started

    @property
    def complete(self) -> bool:
        """Whether its tick needs no other run."""
        return self.outcome in (Outcome.DONE, Outcome.FINDING)


def record_prefix(environment: str, job: str | None = None, subject: str | None = None) -> str:
    return "/".join(part for part in (environment, "runs", job, subject) if part) + "/"


def tick_key(environment: str, job: str, subject: str, tick: datetime) -> str:
    return f"{record_prefix(environment, job, subject)}{key_timestamp(tick)}.json"


def record_to(record: Record) -> bytes:
    """A record as it is stored."""
    fields = {name: to_iso(value) if isinstance(value, datetime) else value for name, value in asdict(record).items()}
    if record.missed:
        gap = record.missed
        fields["missed"] = {"ticks": gap.ticks, "first": to_iso(gap.first), "last": to_iso(gap.last)}
    return to_body(fields)


def record_from(key: str, body: bytes) -> Record:
    """A stored record; Failed if a newer groundcrew wrote it."""
    return from_body(key, body, _record_of)


def _record_of(fields: dict[str, Any]) -> Record:
    gap, tidings = fields["missed"], fields.get("tidings")
    return Record(
        **{
            **fields,
            **{name: from_iso(fields[name]) for name in ("tick", "started", "ended")},
            "outcome": Outcome(fields["outcome"]),
            "missed": gap
            and Gap(gap["ticks"], datetime.fromisoformat(gap["first"]), datetime.fromisoformat(gap["last"])),
            "log": tuple(fields["log"]),
            "tidings": tidings and Notice(**{**tidings, "keys": tuple(tidings["keys"])}),
        }
    )


def read_record(store: Store, key: str) -> Record | None:
    try:
        return record_from(key, store.get(key).body)
    except Missing:
        return None


def record_keys(store: Store, environment: str, job: str | None = None, subject: str | None = None) -> list[str]:
    """The keys of all records, newest first: LIST calls only. What does not look like a record is passed over."""
    keys = (entry.key for entry in store.list(record_prefix(environment, job, subject)) if _KEY.fullmatch(entry.key))
    return sorted(keys, key=lambda key: key.rsplit("/", 1)[1], reverse=True)


def records(store: Store, environment: str, job: str | None = None, subject: str | None = None) -> Iterator[Record]:
    """What ran, newest first; each is read only when it is asked for."""
    read = (read_record(store, key) for key in record_keys(store, environment, job, subject))
    return (record for record in read if record)


def latest_records(store: Store, environment: str) -> list[Record]:
    """The newest record of each job and subject."""
    return latest_by_subject(store, record_keys(store, environment))


def latest_by_subject(store: Store, newest_first: Iterable[str]) -> list[Record]:
    """The newest record of each job and subject among these keys."""
    newest: dict[str, str] = {}
    for key in newest_first:
        newest.setdefault(key.rsplit("/", 1)[0], key)
    return [record for record in (read_record(store, key) for key in sorted(newest.values())) if record]


def tick_of_key(key: str) -> datetime | None:
    """The tick that a record's key names; None for a run that was started by hand."""
    name = key.rsplit("/", 1)[1].removesuffix(".json")
    try:
        return datetime.strptime(name + "+0000", "%Y%m%dT%H%M%SZ%z")
    except ValueError:
        return None


def last_tick(store: Store, environment: str, job: str, subject: str, before: datetime) -> datetime | None:
    """The newest tick before a moment that has a record, whatever came of it."""
    ticks = map(tick_of_key, record_keys(store, environment, job, subject))
    return next((tick for tick in ticks if tick and tick < before), None)


def lock_holders(store: Store, environment: str) -> dict[str, Holder]:
    """Who holds a lock, by `<job>/<subject>`, or died with it: a run has no record before it has ended."""
    prefix = f"{environment}/locks/"
    found = {
        entry.key.removeprefix(prefix).removesuffix(".json"): holder_from(entry.key, store.get(entry.key).body)
        for entry in store.list(prefix)
    }
    return {name: holder for name, holder in found.items() if not holder.released}


def live_holders(store: Store, environment: str, now: datetime) -> dict[str, Holder]:
    """Who holds a lock now, and lives."""
    return {name: holder for name, holder in lock_holders(store, environment).items() if not holder.expired(now)}
