"""How each job stands on each subject: from its last record, its lock and its schedule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.run.documents import key_time, to_second
from jobs.run.job import Outcome
from jobs.run.lease import Holder
from jobs.run.record import Record, latest_by_subject, lock_holders, record_keys, records
from jobs.run.ticks import tick_before
from jobs.schedule.due import upcoming
from jobs.schedule.slots import Slot
from jobs.store import Store

LATE_AFTER = timedelta(minutes=15)
RECORDS_READ = 50


class HealthState(StrEnum):
    """How a subject stands, the worst first."""

    FAILED = "failed"
    DIED = "died"
    FINDING = "finding"
    LATE = "late"
    NEVER = "never ran"
    RUNNING = "running"
    NOT_YET = "not yet"
    OK = "ok"

    @property
    def wrong(self) -> bool:
        """Whether somebody should look."""
        return self not in (HealthState.RUNNING, HealthState.NOT_YET, HealthState.OK)


_WORST_FIRST = list(HealthState)


@dataclass(frozen=True, slots=True)
class Health:
    """How one job stands on one subject."""

    job: str
    subject: str
    state: HealthState
    since: datetime | None
    sentence: str
    last: Record | None
    since_before: bool = False
    next: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        last = self.last
        return {
            "job": self.job,
            "subject": self.subject,
            "state": self.state,
            "since": to_second(self.since),
            "since_before": self.since_before,
            "sentence": self.sentence,
            "next": to_second(self.next),
            "last": last and {"run": last.run, "outcome": last.outcome, "ended": to_second(last.ended)},
        }


def environment_health(slots: Sequence[Slot], environment: Environment, store: Store, now: datetime) -> list[Health]:
    """How everything stands that has run or is to run here: the bad news first, then the newest."""
    keys = record_keys(store, environment.name)
    last = {record.name: record for record in latest_by_subject(store, keys)}
    locks = lock_holders(store, environment.name)
    known = dict.fromkeys([*last, *locks])
    began = key_time(keys[-1]) if keys else now
    due = _due(known, slots, environment.timezone, began, now)
    everything = known | dict.fromkeys(due)
    found = [subject_health(name, last.get(name), locks.get(name), due.get(name), now) for name in everything]
    begun = by_severity(_with_beginning(one, store, environment.name) for one in found)
    return [replace(one, next=_next(one, slots, environment.timezone, now)) for one in begun]


def by_severity(found: Iterable[Health]) -> list[Health]:
    """The worst first; among equals the newest."""
    never = datetime.min.replace(tzinfo=UTC)
    newest_first = sorted(found, key=lambda one: one.since or never, reverse=True)
    return sorted(newest_first, key=lambda one: _WORST_FIRST.index(one.state))


def subject_health(name: str, last: Record | None, lock: Holder | None, due: datetime | None, now: datetime) -> Health:
    """The state of one subject. A run that lives counts before all, then one that died, then the last end."""
    job, _, subject = name.partition("/")
    state, since, sentence = _state(last, lock, due, now)
    return Health(job, subject, state, since, sentence, last)


def _state(
    last: Record | None, lock: Holder | None, due: datetime | None, now: datetime
) -> tuple[HealthState, datetime | None, str]:
    before = f"; before that {last.outcome}: {last.sentence}" if last else ""
    if lock and (lock.released or (last and last.run == lock.run)):
        lock = None  # one that was lost could not be released any more by the run that had it
    if lock and lock.expired(now):
        return (
            HealthState.DIED,
            lock.last_renewed,
            f"run {lock.run} on {lock.host} (pid {lock.pid}) ended without a word{before}",
        )
    if lock:
        return HealthState.RUNNING, lock.since, f"on {lock.host} (pid {lock.pid}){before}"
    if last and last.outcome is Outcome.FAILED:
        return HealthState.FAILED, last.ended, last.sentence
    if due and (last is None or (last.started < due and last.tick != due)):
        return (
            (HealthState.LATE if last else HealthState.NEVER),
            due,
            f"was due and did not run; is its schedule installed?{before}",
        )
    if last is None:
        return HealthState.NOT_YET, None, "has not run yet; its first tick is to come"
    return (HealthState.OK if last.outcome is Outcome.DONE else HealthState.FINDING), last.ended, last.sentence


def _due(
    known: Iterable[str], slots: Iterable[Slot], zone: ZoneInfo, began: datetime, now: datetime
) -> dict[str, datetime | None]:
    """For each scheduled subject its newest tick that should have been run by now; a slot that never ran is one too.

    Before anything ran here the file was not there, so that no tick of that time is missed.
    """
    due: dict[str, datetime | None] = {}
    for slot in slots:
        newest = tick_before(slot.line, zone, now - LATE_AFTER)
        tick = newest if newest >= began else None
        owned = [name for name in known if name.startswith(f"{slot.job}/") and slot.owns(name.partition("/")[2])]
        due |= dict.fromkeys(owned or [f"{slot.job}/{slot.name}"], tick)
    return due


def _next(one: Health, slots: Iterable[Slot], zone: ZoneInfo, now: datetime) -> datetime | None:
    """When it is run next, if it is on the clock."""
    mine = [slot for slot in slots if slot.job == one.job and slot.owns(one.subject)]
    return min((upcoming(slot, zone, now, 1)[0] for slot in mine), default=None)


def _with_beginning(one: Health, store: Store, environment: str) -> Health:
    """Since when it is wrong: the first of the runs that ended badly in a row."""
    if one.state not in (HealthState.FAILED, HealthState.FINDING):
        return one
    looked = list(islice(records(store, environment, one.job, one.subject), RECORDS_READ))
    row = list(unsuccessful_streak(looked))
    return _since(one, row, whole=len(row) < len(looked) or len(looked) < RECORDS_READ) if row else one


def unsuccessful_streak(newest_first: Sequence[Record]) -> Iterator[Record]:
    """The runs since the last good one."""
    for record in newest_first:
        if record.outcome is Outcome.DONE:
            return
        yield record


def _since(one: Health, row: Sequence[Record], *, whole: bool) -> Health:
    return Health(one.job, one.subject, one.state, row[-1].ended, one.sentence, one.last, since_before=not whole)
