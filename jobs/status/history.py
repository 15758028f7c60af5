"""What ran on each database on each of the last 90 days, from the keys of the run records.

A document in the store keeps the days that are over, so that a page needs few requests. It is a cache of records, which
never change: whatever damages or deletes it costs requests only. The last days are always listed anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

from jobs.run.documents import from_body, key_time, to_body
from jobs.run.job import Failed, Outcome
from jobs.run.record import RecordKey, read_record, record_keys
from jobs.store import Missing, StoreError, TooLarge

if TYPE_CHECKING:
    from inventories import Environment
    from jobs.status.health import Health
    from jobs.store import Store

DAYS = 90
OPEN_DAYS = 8
"""So many days are listed again each time: a run can end, or be found dead, days after it began."""

MOST_RECORDS_READ = 6000  # as many as 66 databases have days
_FEW = 20  # sizes that a reader reads again and again rather than to write the document for them
_BYTES_OF_DAY = 250
_A_DAY = timedelta(days=1)
_READERS = 8
_GOOD = (Outcome.DONE, Outcome.FINDING)  # of a backup: a set that shrank is a finding


@dataclass(frozen=True, slots=True)
class DayRuns:
    """The backups and verifications of one database on one day."""

    backups: int = 0
    failed_backups: int = 0
    backup_failed: bool = False
    """Whether the last backup of the day failed."""
    verifications: int = 0
    failed_verifications: int = 0
    verification_failed: bool = False
    """Whether the last verification of the day failed."""
    run: str = ""
    """The newest backup that was done."""
    stored_bytes: int | None = None
    seconds: float | None = None

    @property
    def measured(self) -> bool:
        return self.stored_bytes is not None

    def measured_by(self, figures: Mapping[str, object]) -> DayRuns:
        """Return the same with the size and the duration in the figures of its newest backup."""
        stored, seconds = figures.get("stored_bytes"), figures.get("seconds")
        return replace(
            self,
            stored_bytes=int(stored) if isinstance(stored, int | float) else 0,
            seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        )


Days = Mapping[date, DayRuns]
"""The days of one database. Days on which nothing ran are not in it."""


class History(NamedTuple):
    """The days of each database. Those before `open_since` are final."""

    zone: str
    open_since: date | None
    databases: Mapping[str, Days]


def history_key(environment: str) -> str:
    return f"{environment}/status/history.json"


def read_history(environment: Environment, store: Store, health: Iterable[Health], now: datetime) -> Mapping[str, Days]:
    """Return the last 90 days of each database, and keep what is new for later readers, if the store allows it."""
    zone, names = environment.timezone, {each.subject for each in health if each.job == "backup"}
    kept = _read(store, environment, len(names))
    today = now.astimezone(zone).date()
    first, open_since = today - (DAYS - 1) * _A_DAY, today - (OPEN_DAYS - 1) * _A_DAY
    listed_since = max(first, min(kept.open_since or first, open_since))
    begin = datetime.combine(listed_since, time(), zone)
    keys = record_keys(store, environment.name, now=now, since=begin)
    fresh = days_of_records((key for key in keys if _is_shown(key, environment)), zone, today)
    known = {name: {day: runs for day, runs in days.items() if day >= first} for name, days in kept.databases.items()}
    merged = with_measures(_merged(known, fresh, listed_since), known, health)
    complete, number_read = _read_records(store, environment.name, merged)
    if kept.open_since != open_since or number_read > _FEW:
        _write(store, environment.name, History(zone.key, open_since, complete))
    return complete


def _is_shown(key: RecordKey, environment: Environment) -> bool:
    return key.job in ("backup", "verify") and key.subject.partition(".")[0] not in environment.copies


def days_of_records(keys: Iterable[RecordKey], zone: ZoneInfo, today: date) -> dict[str, dict[date, DayRuns]]:
    """Return the days of each database from the keys of records, newest first."""
    found: dict[str, dict[date, DayRuns]] = defaultdict(dict)
    for key in keys:
        with suppress(ValueError):  # a month 13, for example
            day = key_time(key.run).astimezone(zone).date()
            if day <= today:
                found[key.subject][day] = with_record(found[key.subject].get(day, DayRuns()), key)
    return found


def with_record(day: DayRuns, key: RecordKey) -> DayRuns:
    """Return a day with an earlier record added."""
    if key.outcome not in (*_GOOD, Outcome.FAILED, Outcome.DIED):
        return day
    if key.job == "verify":
        failed = key.outcome is not Outcome.DONE
        is_last = not day.verifications
        return replace(
            day,
            verifications=day.verifications + 1,
            failed_verifications=day.failed_verifications + failed,
            verification_failed=failed if is_last else day.verification_failed,
        )
    failed, is_last = key.outcome not in _GOOD, not day.backups + day.failed_backups
    return replace(
        day,
        backups=day.backups + (not failed),
        failed_backups=day.failed_backups + failed,
        backup_failed=failed if is_last else day.backup_failed,
        run=day.run if day.run or failed else key.run,
    )


def _merged(known: Mapping[str, Days], fresh: Mapping[str, Days], listed_since: date) -> dict[str, dict[date, DayRuns]]:
    """Return the final days as they are known, and the others as they were listed now."""
    merged: dict[str, dict[date, DayRuns]] = defaultdict(dict)
    for name, days in known.items():
        merged[name] |= {day: runs for day, runs in days.items() if day < listed_since}
    for name, days in fresh.items():
        merged[name] |= {day: runs for day, runs in days.items() if day >= listed_since}
    return merged


def with_measures(
    days: Mapping[str, Days], known: Mapping[str, Days], health: Iterable[Health]
) -> dict[str, dict[date, DayRuns]]:
    """Return the days with the sizes that are known already: of the same run, or from the lock that it released."""
    last = {each.subject: each for each in health if each.job == "backup" and each.last and each.figures}

    def measured(name: str, day: date, runs: DayRuns) -> DayRuns:
        before = known.get(name, {}).get(day)
        if before is not None and before.run == runs.run and before.measured:
            return runs if before is runs else replace(runs, stored_bytes=before.stored_bytes, seconds=before.seconds)
        newest = last.get(name)
        if newest is not None and newest.last and newest.last.run == runs.run and "stored_bytes" in newest.figures:
            return runs.measured_by(newest.figures)
        return runs

    return {name: {day: measured(name, day, runs) for day, runs in of.items()} for name, of in days.items()}


def _read_records(
    store: Store, environment: str, days: Mapping[str, Days]
) -> tuple[dict[str, dict[date, DayRuns]], int]:
    """Return the days with the sizes that only the records have, newest first, and how many records were read."""
    complete = {name: dict(of) for name, of in days.items()}
    lacking = sorted(
        ((day, name) for name, of in complete.items() for day, runs in of.items() if runs.run and not runs.measured),
        reverse=True,
    )[:MOST_RECORDS_READ]
    if not lacking:
        return complete, 0

    def read(place: tuple[date, str]) -> DayRuns:
        day, name = place
        runs = complete[name][day]
        for outcome in _GOOD:
            key = f"{environment}/runs/{runs.run[:8]}/{runs.run}.backup.{outcome}.{name}.json"
            with suppress(Failed):
                if record := read_record(store, key):
                    return runs.measured_by(record.figures)
        return runs

    with ThreadPoolExecutor(min(_READERS, len(lacking))) as pool:
        for (day, name), runs in zip(lacking, pool.map(read, lacking), strict=True):
            complete[name][day] = runs
    return complete, len(lacking)


def _read(store: Store, environment: Environment, databases: int) -> History:
    """Return the history that is kept; an empty one if it is damaged, or has other days because of its timezone."""
    empty = History(environment.timezone.key, None, {})
    with suppress(Missing, Failed, TooLarge):
        limit = max(10, databases) * DAYS * _BYTES_OF_DAY
        kept = from_body("", store.get(history_key(environment.name), limit).body, _parse)
        return kept if kept.zone == empty.zone else empty
    return empty


def _write(store: Store, environment: str, history: History) -> None:
    """Keep a history; a reader without the right to write does without it."""
    with suppress(StoreError):
        store.put(history_key(environment), history_to(history))


def history_to(history: History) -> bytes:
    """Return a history as it is stored: a line for each day of a database, to be small."""
    databases = {
        name: {day.isoformat(): _day_to(runs) for day, runs in sorted(days.items())}
        for name, days in sorted(history.databases.items())
        if days
    }
    return to_body({"zone": history.zone, "open_since": str(history.open_since), "databases": databases})


def _day_to(runs: DayRuns) -> str:
    values: Sequence[object] = (
        runs.backups, runs.failed_backups, int(runs.backup_failed), runs.verifications, runs.failed_verifications,
        int(runs.verification_failed), runs.run or "-", "-" if runs.stored_bytes is None else runs.stored_bytes,
        "-" if runs.seconds is None else runs.seconds,
    )  # fmt: skip
    return " ".join(map(str, values))


def _parse(fields: Mapping[str, Any]) -> History:
    return History(
        str(fields["zone"]),
        date.fromisoformat(fields["open_since"]),
        {
            name: {date.fromisoformat(day): _parse_day(line) for day, line in days.items()}
            for name, days in fields["databases"].items()
        },
    )


def _parse_day(line: str) -> DayRuns:
    backups, failed, last_failed, verified, unverified, last_unverified, run, stored, seconds = line.split(" ")
    return DayRuns(
        int(backups), int(failed), last_failed == "1", int(verified), int(unverified), last_unverified == "1",
        "" if run == "-" else run,
        None if stored == "-" else int(stored),
        None if seconds == "-" else float(seconds),
    )  # fmt: skip
