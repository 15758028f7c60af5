"""The health of each job on each subject, from its last record, its lock and its schedule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import dropwhile, islice
from typing import Any
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.registry import JOBS, find_job
from jobs.run.documents import key_time, to_second
from jobs.run.job import Outcome
from jobs.run.lease import Holder
from jobs.run.record import Record, latest_by_subject, lock_holders, record_keys, records
from jobs.run.ticks import tick_before
from jobs.schedule.due import OVERDUE_AFTER, upcoming
from jobs.schedule.slots import Slot
from jobs.status.gone import SHOWN_FOR, Gone, HasSubject, gone_subjects, last_seen
from jobs.store import Store

RECORDS_READ = 50
_CLOCK_TOLERANCE = timedelta(days=1)


class HealthState(StrEnum):
    """The state of a job on a subject, worst first."""

    FAILED = "failed"
    DIED = "died"
    FINDING = "finding"
    OVERDUE = "overdue"
    NEVER = "missed first run"
    RUNNING = "running"
    NOT_YET = "waiting"
    GONE = "gone"
    OK = "ok"

    @property
    def is_problem(self) -> bool:
        """Whether the user should act."""
        return self not in (HealthState.RUNNING, HealthState.NOT_YET, HealthState.GONE, HealthState.OK)


_WORST_FIRST = list(HealthState)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of one job on one subject."""

    job: str
    subject: str
    state: HealthState
    since: datetime | None
    sentence: str
    last: Record | None
    since_before: bool = False
    next: datetime | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the health for --json."""
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
    """Return the health of everything that ran or is scheduled, problems first, then newest first."""
    keys, ahead = _without_future(record_keys(store, environment.name), now)
    last = {record.name: record for record in latest_by_subject(store, keys)}
    locks = lock_holders(store, environment.name)
    known = dict.fromkeys([*last, *locks, *ahead])
    first_run = key_time(keys[-1]) if keys else now
    due = _due(known, slots, environment.timezone, first_run, now)
    gone = gone_subjects(environment, last, locks, due, has_subject=_has_subject(environment, slots), now=now)
    names = known | dict.fromkeys(due)
    health = [
        subject_health(name, last.get(name), locks.get(name), due.get(name), now) for name in names if name not in gone
    ]
    health += gone_health(gone, last, now)
    health = [_with_ignored_record(each, ahead.get(f"{each.job}/{each.subject}")) for each in health]
    ordered = by_severity(_with_start_of_problem(each, store, environment.name) for each in health)
    return [replace(each, next=_next_run(each, slots, environment.timezone, now)) for each in ordered]


def _has_subject(environment: Environment, slots: Sequence[Slot]) -> HasSubject:
    """Return whether the file still names a subject. A job's own answer is needed only for what is not scheduled."""

    def has_subject(job: str, subject: str) -> bool:
        if job not in JOBS or any(slot.job == job and slot.name and slot.owns(subject) for slot in slots):
            return True
        return find_job(job).has_subject(environment, subject)

    return has_subject


def gone_health(gone: Mapping[str, Gone], last: Mapping[str, Record], now: datetime) -> list[Health]:
    """Return the health of subjects that are gone: shown for seven days after their last run, then forgotten."""
    shown = []
    for name, why in gone.items():
        job, _, subject = name.partition("/")
        since = last_seen(subject, last.values())
        if why is not Gone.SILENCED and since and now - since < SHOWN_FOR:
            sentence = f"{why.value}; shown until {since + SHOWN_FOR:%b %d}"
            shown.append(Health(job, subject, HealthState.GONE, since, sentence, last.get(name)))
    return shown


def _without_future(newest_first: list[str], now: datetime) -> tuple[list[str], dict[str, datetime]]:
    """Return the keys without those dated in the future, which would hide all later runs, and the latest by subject."""
    keys = list(dropwhile(lambda key: key_time(key) > now + _CLOCK_TOLERANCE, newest_first))
    ahead = reversed(newest_first[: len(newest_first) - len(keys)])
    return keys, {"/".join(key.split("/")[-3:-1]): key_time(key) for key in ahead}


def _with_ignored_record(health: Health, ahead: datetime | None) -> Health:
    if ahead is None:
        return health
    ignored = f"a run record dated {ahead:%Y-%m-%d %H:%M} UTC, in the future, is ignored"
    return replace(health, sentence=f"{health.sentence}; {ignored}: check the clocks of the machines that run jobs")


def by_severity(health: Iterable[Health]) -> list[Health]:
    """Return the worst first, and the newest first within a state."""
    never = datetime.min.replace(tzinfo=UTC)
    newest_first = sorted(health, key=lambda each: each.since or never, reverse=True)
    return sorted(newest_first, key=lambda each: _WORST_FIRST.index(each.state))


def subject_health(name: str, last: Record | None, lock: Holder | None, due: datetime | None, now: datetime) -> Health:
    """Return the health of one subject: a live run counts first, then a run that died, then the last record."""
    job, _, subject = name.partition("/")
    state, since, sentence = _state(last, lock, due, now)
    return Health(job, subject, state, since, sentence, last)


def _state(
    last: Record | None, lock: Holder | None, due: datetime | None, now: datetime
) -> tuple[HealthState, datetime | None, str]:
    previous = f"; previous run {last.outcome}: {last.sentence}" if last else ""
    if lock and (lock.released or (last and last.run == lock.run)):
        lock = None  # a run that lost its lock writes a record but cannot release the lock
    if lock:
        process = f"on {lock.host} (pid {lock.pid})"
        if lock.expired(now):
            sentence = f"run {lock.run} {process} was killed or crashed without a run record{previous}"
            return HealthState.DIED, lock.last_renewed, sentence
        return HealthState.RUNNING, lock.since, f"{process}{previous}"
    if last and last.outcome is Outcome.FAILED:
        return HealthState.FAILED, last.ended, last.sentence
    if due and (last is None or (last.started < due and last.tick != due)):
        state = HealthState.OVERDUE if last else HealthState.NEVER
        return state, due, f"no run since it was due; check that the schedule is installed{previous}"
    if last is None:
        return HealthState.NOT_YET, None, "waiting for the first scheduled time"
    return (HealthState.OK if last.outcome is Outcome.DONE else HealthState.FINDING), last.ended, last.sentence


def _due(
    known: Iterable[str], slots: Iterable[Slot], zone: ZoneInfo, first_run: datetime, now: datetime
) -> dict[str, datetime | None]:
    """Return for each scheduled subject the newest tick that should have run by now, also for one that never ran.

    Ticks before the environment's first run do not count, because the schedule was not installed then.
    """
    due: dict[str, datetime | None] = {}
    for slot in slots:
        newest = tick_before(slot.line, zone, now - OVERDUE_AFTER)
        tick = newest if newest >= first_run else None
        owned = [name for name in known if name.startswith(f"{slot.job}/") and slot.owns(name.partition("/")[2])]
        due |= dict.fromkeys(owned or [f"{slot.job}/{slot.name}"], tick)
    return due


def _next_run(health: Health, slots: Iterable[Slot], zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return the next tick of the job on this subject, if it is scheduled."""
    own = [slot for slot in slots if slot.job == health.job and slot.owns(health.subject)]
    if health.state is HealthState.GONE:
        return None
    return min((upcoming(slot, zone, now, 1)[0] for slot in own), default=None)


def _with_start_of_problem(health: Health, store: Store, environment: str) -> Health:
    """Set `since` to the end of the first run of the current unsuccessful streak."""
    if health.state not in (HealthState.FAILED, HealthState.FINDING):
        return health
    newest_first = list(islice(records(store, environment, health.job, health.subject), RECORDS_READ))
    streak = list(unsuccessful_streak(newest_first))
    if not streak:
        return health
    began_before = len(streak) == len(newest_first) == RECORDS_READ
    return replace(health, since=streak[-1].ended, since_before=began_before)


def unsuccessful_streak(newest_first: Sequence[Record]) -> Iterator[Record]:
    """Yield the runs since the last successful one."""
    for record in newest_first:
        if record.outcome is Outcome.DONE:
            return
        yield record
