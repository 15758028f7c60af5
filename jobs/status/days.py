"""The marks of the last days of a database: verified, backed up, failed, missing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from zoneinfo import ZoneInfo

from jobs.format import plural
from jobs.run.ticks import next_ticks
from jobs.schedule.due import OVERDUE_AFTER
from jobs.status.history import DAYS, DayRuns, Days

_A_DAY = timedelta(days=1)


class Mark(StrEnum):
    """What is to say about one day, worst first."""

    FAILED = "failed"
    MISSING = "missing"
    VERIFIED = "verified"
    BACKED_UP = "backed up"
    NONE = "nothing due"

    @property
    def is_problem(self) -> bool:
        return self in (Mark.FAILED, Mark.MISSING)


@dataclass(frozen=True, slots=True)
class MarkedDays:
    """Neighbouring days with the same mark: the number of the first one in the strip, and their text."""

    first: int
    days: int
    mark: Mark
    text: str


def mark_of(runs: DayRuns | None, *, due: bool) -> Mark:
    """Return the mark of a day. A failed run counts unless a later one of the day did the same well."""
    if runs is None:
        return Mark.MISSING if due else Mark.NONE
    if runs.backup_failed or runs.verification_failed:
        return Mark.FAILED
    if due and not runs.backups:
        return Mark.MISSING
    if runs.verifications:
        return Mark.VERIFIED
    return Mark.BACKED_UP if runs.backups else Mark.NONE


def last_days(today: date) -> list[date]:
    """Return the days of a strip, oldest first."""
    return [today - _A_DAY * back for back in range(DAYS - 1, -1, -1)]


def due_days(line: str | None, zone: ZoneInfo, first_run: datetime | None, now: datetime) -> frozenset[date]:
    """Return the days on which the schedule of today has a run that should have begun, after the first run ever."""
    if line is None or first_run is None:
        return frozenset()
    since, until = first_run.astimezone(zone), now - OVERDUE_AFTER
    return frozenset(
        day
        for day in last_days(now.astimezone(zone).date())
        if since.date() <= day and _has_tick(line, zone, max(datetime.combine(day, time(), zone), since), until)
    )


def _has_tick(line: str, zone: ZoneInfo, begin: datetime, until: datetime) -> bool:
    tick = next(next_ticks(line, zone, begin - timedelta(seconds=1)))
    return tick <= until and tick.astimezone(zone).date() == begin.astimezone(zone).date()


def marks(days: Days, due: Collection[date], today: date) -> list[Mark]:
    """Return the mark of each day of a strip, oldest first."""
    return [mark_of(days.get(day), due=day in due) for day in last_days(today)]


def marked_days(days: Days, of_days: Sequence[Mark], today: date) -> Iterator[MarkedDays]:
    """Yield neighbouring days with the same mark, oldest first; days without anything due have no mark."""
    dates = last_days(today)
    for mark, group in groupby(enumerate(of_days), key=lambda pair: pair[1]):
        numbers = [number for number, _ in group]
        if mark is not Mark.NONE:
            yield MarkedDays(numbers[0], len(numbers), mark, _text(mark, [dates[number] for number in numbers], days))


def _text(mark: Mark, dates: Sequence[date], days: Days) -> str:
    span = _span(dates[0], dates[-1])
    if mark is Mark.MISSING:
        return f"{span}: no backup, although one was due"
    runs = [days[day] for day in dates if day in days]
    counts = (
        (sum([each.backups for each in runs]), "backup"),
        (sum([each.failed_backups for each in runs]), "failed backup"),
        (sum([each.failed_verifications for each in runs]), "failed verification"),
    )
    named = [] if mark is Mark.BACKED_UP else [mark.value]
    return f"{span}: {', '.join([*named, *(plural(number, noun) for number, noun in counts if number)])}"


def _span(first: date, last: date) -> str:
    """Return the first and the last of some days: Nov 2; Nov 2 to 7; Oct 30 to Nov 2."""
    if first == last:
        return _day(first)
    return f"{_day(first)} to {_day(last) if last.month != first.month else last.day}"


@lru_cache(maxsize=2 * DAYS)  # each database has the same days
def _day(day: date) -> str:
    return f"{day:%b} {day.day}"


def describe_days(of_days: Iterable[Mark]) -> str:
    """Return how many days have each mark, for a reader who does not see the strip."""
    counts = Counter(of_days)
    shown = [mark for mark in Mark if mark is not Mark.NONE and counts[mark]]
    listed = ", ".join(f"{mark} on {plural(counts[mark], 'day')}" for mark in shown)
    return f"Last {DAYS} days: {listed or 'no backup was due'}"
