"""Run records: one per run, in a folder per day. The key names job, subject and outcome, so a listing can filter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby, takewhile
from typing import Any

from jobs.format import format_time
from jobs.run.documents import document_fields, from_body, from_iso, key_timestamp, to_body, utc_now
from jobs.run.job import Notice, Outcome, Severity
from jobs.run.latest import RunSummary
from jobs.run.lease import Holder
from jobs.run.ticks import Gap
from jobs.store import ListedKey, Missing, Store

_KEY = re.compile(
    r"\d{8}/(?P<run>\d{8}T\d{6}Z-[^./]+)\.(?P<job>[a-z]+)\.(?P<outcome>[a-z]+)\.(?P<subject>.+)\.json", re.DOTALL
)
_WINDOWS = (1, 7, 30, 100, 400)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_PROVISIONAL = (Outcome.RUNNING, Outcome.DIED)


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
    user: str = ""
    command: str = ""
    notice: Notice | None = None
    details: object = None  # from Result.details; not stored

    @property
    def name(self) -> str:
        return f"{self.job}/{self.subject}"

    @property
    def duration(self) -> timedelta:
        return self.ended - self.started

    @property
    def key(self) -> str:
        """Its key in the store."""
        return (
            f"{record_prefix(self.environment)}{self.run[:8]}/{self.run}.{self.job}.{self.outcome}.{self.subject}.json"
        )

    @property
    def summary(self) -> RunSummary:
        """What its subject's lock keeps of it."""
        return RunSummary(
            self.run, self.started, self.ended, self.outcome, self.sentence, attempts=self.attempts, tick=self.tick
        )


@dataclass(frozen=True, slots=True)
class RecordKey:
    """What the key of a record says, and when it was written."""

    key: str
    run: str
    job: str
    outcome: Outcome
    subject: str
    modified: datetime


def record_prefix(environment: str) -> str:
    """Return the prefix of the keys of all records of an environment."""
    return f"{environment}/runs/"


def parse_record_key(entry: ListedKey, prefix: str) -> RecordKey | None:
    """Return what a record's key says; None for another key."""
    match = _KEY.fullmatch(entry.key.removeprefix(prefix))
    if match is None or match["outcome"] not in set(Outcome):
        return None
    return RecordKey(entry.key, match["run"], match["job"], Outcome(match["outcome"]), match["subject"], entry.modified)


def record_to(record: Record) -> bytes:
    """Return a record as it is stored."""
    fields = document_fields(record)
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
            "notice": notice and _parse_notice(notice),
        }
    )


def _parse_notice(fields: Mapping[str, Any]) -> Notice:
    severity = Severity(fields.get("severity", Severity.WARNING))
    return Notice(tuple(fields["keys"]), fields["title"], fields["text"], severity)


def read_record(store: Store, key: str) -> Record | None:
    try:
        return record_from(key, store.get(key).body)
    except Missing:
        return None


def record_keys(
    store: Store,
    environment: str,
    job: str | None = None,
    subject: str | None = None,
    *,
    now: datetime | None = None,
    since: datetime | None = None,
) -> Iterator[RecordKey]:
    """Yield the keys of all records, newest first, by LIST calls only. Lists further back only when that is needed."""
    until, now = "", now or utc_now()
    earliest = since or _LONG_AGO
    first_run = key_timestamp(earliest)
    for begin in (*(max(now - timedelta(days=days), earliest) for days in _WINDOWS), earliest):
        first_day = f"{begin.astimezone(UTC):%Y%m%d}"
        for key in reversed(_keys_of_days(store, record_prefix(environment), first_day, until)):
            if job in (None, key.job) and subject in (None, key.subject) and key.run >= first_run:
                yield key
        until = first_day
        if begin == earliest:
            return


def _keys_of_days(store: Store, prefix: str, begin: str, until: str) -> list[RecordKey]:
    """Return the keys from one day up to another, oldest first, a key for each run."""
    listing = store.list(prefix, f"{prefix}{begin}/")
    entries = takewhile(lambda entry: not until or entry.key < f"{prefix}{until}/", listing)
    keys = sorted(filter(None, (parse_record_key(entry, prefix) for entry in entries)), key=lambda key: key.run)
    return [_most_certain(tuple(of_run)) for _, of_run in groupby(keys, key=lambda key: key.run)]


def _most_certain(of_run: Sequence[RecordKey]) -> RecordKey:
    """Return the key of a run's own result, rather than that it began, or that another run took it for dead."""
    return min(of_run, key=lambda key: (key.outcome in _PROVISIONAL, key.outcome is Outcome.RUNNING))


def find_record(store: Store, environment: str, run: str) -> Record | None:
    """Return the record of a run by its ID."""
    prefix = record_prefix(environment)
    found = filter(None, (parse_record_key(entry, prefix) for entry in store.list(f"{prefix}{run[:8]}/{run}.")))
    keys = tuple(key for key in found if key.run == run)
    return read_record(store, _most_certain(keys).key) if keys else None


def records(store: Store, environment: str, job: str | None = None, subject: str | None = None) -> Iterator[Record]:
    """Yield records, newest first; each is read when it is needed."""
    read = (read_record(store, key.key) for key in record_keys(store, environment, job, subject))
    return (record for record in read if record)


def already_done(earlier: Record, now: datetime, zone: tzinfo) -> str:
    """Return what a scheduled run says if an earlier run did the work of its scheduled time."""
    tick = format_time(earlier.tick or earlier.started, now, zone)
    ended = format_time(earlier.ended, now, zone)
    return f"already ran for {tick}: run {earlier.run}, ended at {ended}: {earlier.sentence}"


def record_of_dead_run(environment: str, name: str, holder: Holder) -> Record:
    """Return the record of a run that held a lock and was killed or crashed; its own lock says all that is known."""
    job, _, subject = name.partition("/")
    earlier = holder.runs.earlier_try(holder.tick) if holder.tick else None
    return Record(
        environment=environment, job=job, subject=subject, run=holder.run, tick=holder.tick, started=holder.since,
        ended=holder.last_renewed, outcome=Outcome.DIED,
        sentence=f"run {holder.run} on {holder.host} (pid {holder.pid}) was killed or crashed; "
        f"it renewed its lock last at {holder.last_renewed.astimezone(UTC):%H:%M:%S} UTC",
        figures={}, about="", attempts=max(holder.attempts, earlier.attempts + 1 if earlier else 0), stopped=None,
        host=holder.host, pid=holder.pid, scheduled=holder.tick is not None, took_over=holder.took_over, missed=None,
        log=(), user=holder.user, command=holder.command,
    )  # fmt: skip
