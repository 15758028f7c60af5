"""The health of each job on each subject, from its lock, which keeps its last run, and from its schedule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.format import format_duration
from jobs.registry import JOBS, find_job
from jobs.run.documents import CLOCK_SKEW, to_second
from jobs.run.holders import read_holders
from jobs.run.job import Outcome
from jobs.run.latest import RunSummary, SubjectRuns
from jobs.run.lease import Holder
from jobs.run.record import find_record
from jobs.run.ticks import tick_before
from jobs.schedule.due import OVERDUE_AFTER, upcoming
from jobs.schedule.slots import Slot
from jobs.status.gone import SHOWN_FOR, Gone, HasSubject, gone_subjects, last_seen
from jobs.store import Store

PREVIOUS = "; previous run"
_CLOCK_TOLERANCE = timedelta(days=1)


class HealthState(StrEnum):
    """The state of a job on a subject, worst first."""

    LOST = "backup lost"
    FAILED = "failed"
    DIED = "died"
    FINDING = "finding"
    TOO_LONG = "runs too long"
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
    last: RunSummary | None
    next: datetime | None = None
    succeeded: datetime | None = None
    set_checked: bool = True
    """Whether the set of the last backup was looked for in the store, if there is to be one."""
    copied: datetime | None = None
    """When the newest set in a copy was started, as the last run of the job `copy` found it."""
    figures: Mapping[str, object] = field(default_factory=dict)
    """What the newest run that did not fail measured of Job.compared."""
    first: datetime | None = None
    """When its first run started."""

    def as_json(self) -> dict[str, Any]:
        """Return the health for --json."""
        last = self.last
        return {
            "job": self.job,
            "subject": self.subject,
            "state": self.state,
            "since": to_second(self.since),
            "sentence": self.sentence,
            "next": to_second(self.next),
            "figures": dict(self.figures),
            "last": last and {"run": last.run, "outcome": last.outcome, "ended": to_second(last.ended)},
        }


def environment_health(
    slots: Sequence[Slot], environment: Environment, store: Store, now: datetime, *, few_requests: bool = False
) -> list[Health]:
    """Return the health of everything that ran or is scheduled, problems first, then newest first.

    With few requests, the sets of some databases can stay unchecked.
    """
    holders = {
        name: _settled(holder, store, environment.name, now)
        for name, holder in read_holders(store, environment.name).items()
    }
    first_run = min((holder.runs.first for holder in holders.values() if holder.runs.first), default=now)
    due = _due(holders, slots, environment.timezone, first_run, now)
    last = {name: holder.runs.last for name, holder in holders.items() if holder.runs.last}
    gone = gone_subjects(environment, last, holders, due, has_subject=_has_subject(environment, slots), now=now)
    names = [name for name in holders | due if name not in gone]
    health = [
        subject_health(name, holders.get(name), due.get(name), now, _time_limit(name, environment)) for name in names
    ]
    health = _with_lost_backups(health, due, environment, store, now, few_requests=few_requests)
    health += gone_health(gone, last, now)
    return [replace(each, next=_next_run(each, slots, environment.timezone, now)) for each in by_severity(health)]


def _has_subject(environment: Environment, slots: Sequence[Slot]) -> HasSubject:
    """Return whether the file still names a subject. A job's own answer is needed only for what is not scheduled."""

    def has_subject(job: str, subject: str) -> bool:
        if job not in JOBS or any(slot.job == job and slot.name and slot.owns(subject) for slot in slots):
            return True
        return find_job(job).has_subject(environment, subject)

    return has_subject


def gone_health(gone: Mapping[str, Gone], last: Mapping[str, RunSummary], now: datetime) -> list[Health]:
    """Return the health of subjects that are gone: shown for seven days after their last run, then forgotten."""
    shown = []
    for name, why in gone.items():
        job, _, subject = name.partition("/")
        since = last_seen(subject, last)
        if why is not Gone.SILENCED and since and now - since < SHOWN_FOR:
            sentence = f"{why.value}; shown until {since + SHOWN_FOR:%b %d}"
            shown.append(Health(job, subject, HealthState.GONE, since, sentence, last.get(name)))
    return shown


def _settled(holder: Holder, store: Store, environment: str, now: datetime) -> Holder:
    """Return the holder of a lock; one that ended but could not release its lock, or was killed then, as released."""
    if holder.released or not holder.expired(now):
        return holder
    record = find_record(store, environment, holder.run)
    return replace(holder, released=record.ended, runs=holder.runs.with_run(record.summary)) if record else holder


def by_severity(health: Iterable[Health]) -> list[Health]:
    """Return the worst first, and the newest first within a state."""
    never = datetime.min.replace(tzinfo=UTC)
    newest_first = sorted(health, key=lambda each: each.since or never, reverse=True)
    return sorted(newest_first, key=severity_rank)


def severity_rank(health: Health | None) -> int:
    """Return a key to sort by: the worst state first, and nothing last."""
    return len(_WORST_FIRST) if health is None else _WORST_FIRST.index(health.state)


def _with_lost_backups(
    health: Sequence[Health],
    due: Mapping[str, datetime | None],
    environment: Environment,
    store: Store,
    now: datetime,
    *,
    few_requests: bool,
) -> list[Health]:
    """Return the health of all subjects; a backup that was done but left no trusted set is lost."""
    since = {
        each.subject: at for each in health if (at := set_expected_since(each, due.get(f"{each.job}/{each.subject}")))
    }
    if not since:
        return list(health)
    from jobs.backup import find_recent_sets  # it takes time to import, and most commands do without

    recent = find_recent_sets(store, environment, since, now, few_requests=few_requests)

    def checked(each: Health) -> Health:
        if each.job != "backup" or each.subject not in since or each.subject in recent.found:
            return each
        if each.subject in recent.unchecked:
            return replace(each, set_checked=False)
        sentence = (
            f"no trusted set since {to_second(since[each.subject])}, although the backup was done; "
            f"see crew backups list {environment.name} {each.subject}, and find out what changed the store"
        )
        return replace(each, state=HealthState.LOST, since=since[each.subject], sentence=sentence)

    return [checked(each) for each in health]


def set_expected_since(health: Health, due: datetime | None) -> datetime | None:
    """Return the time since which a backup that seems good has to have a set; None for all other health."""
    last = health.last
    if health.job != "backup" or last is None or last.outcome is not Outcome.DONE:
        return None
    if health.state is HealthState.OK:  # the lock is not signed: the schedule counts, too
        return max(last.started, due or last.started) - CLOCK_SKEW
    return last.started - CLOCK_SKEW if health.state is HealthState.RUNNING else None


def _time_limit(name: str, environment: Environment) -> timedelta | None:
    job, _, subject = name.partition("/")
    return find_job(job).limit(environment, subject) if job in JOBS else None


def subject_health(
    name: str, lock: Holder | None, due: datetime | None, now: datetime, limit: timedelta | None = None
) -> Health:
    """Return the health of one subject: a live run counts first, then a run that died, then the last run."""
    job, _, subject = name.partition("/")
    runs = lock.runs if lock else SubjectRuns()
    ahead = runs.last if runs.last and runs.last.started > now + _CLOCK_TOLERANCE else None
    if ahead:  # it would hide for ever that nothing runs
        runs = SubjectRuns()
    is_held = lock is not None and not lock.released
    state, since, sentence = _held_state(lock, runs.last, now, limit) if lock and is_held else _free_state(runs, due)
    if ahead:
        sentence += (
            f"; a run dated {ahead.started:%Y-%m-%d %H:%M} UTC, in the future, is ignored: "
            "check the clocks of the machines that run jobs"
        )
    copied = next((each.get("newest_timestamp_seconds") for each in runs.figures), None) if job == "copy" else None
    return Health(
        job, subject, state, since, sentence, runs.last,
        succeeded=runs.succeeded,
        copied=datetime.fromtimestamp(copied, UTC) if isinstance(copied, int | float) else None,
        figures=runs.figures[0] if runs.figures and runs.last and runs.last.complete else {},
        first=runs.first,
    )  # fmt: skip


def _held_state(
    lock: Holder, last: RunSummary | None, now: datetime, limit: timedelta | None
) -> tuple[HealthState, datetime, str]:
    process = f"on {lock.host} (pid {lock.pid})"
    if lock.expired(now):
        sentence = f"run {lock.run} {process} was killed or crashed without a run record{_previous(last)}"
        return HealthState.DIED, lock.last_renewed, sentence
    if limit is not None and now - lock.since > limit + timedelta(seconds=lock.seconds):
        sentence = f"{process}, longer than its time limit of {format_duration(limit)}; check that host"
        return HealthState.TOO_LONG, lock.since, sentence + _previous(last)
    return HealthState.RUNNING, lock.since, f"{process}{_previous(last)}"


def _free_state(runs: SubjectRuns, due: datetime | None) -> tuple[HealthState, datetime | None, str]:
    last = runs.last
    if last and last.outcome in (Outcome.FAILED, Outcome.DIED):
        return HealthState(last.outcome), runs.problem_since, last.sentence
    if due and (last is None or (last.started < due and due not in runs.ticks)):
        state = HealthState.OVERDUE if last else HealthState.NEVER
        return state, due, f"no run since it was due; check that the schedule is installed{_previous(last)}"
    if last is None:
        return HealthState.NOT_YET, None, "waiting for the first scheduled time"
    if last.outcome is Outcome.FINDING:
        return HealthState.FINDING, runs.problem_since, last.sentence
    return HealthState.OK, last.ended, last.sentence


def sentence_of_problem(health: Health) -> str:
    """Return the sentence of a problem, without the result of a previous run that ended well."""
    now, _, previous = health.sentence.partition(PREVIOUS)
    return now if previous.startswith(f" {Outcome.DONE}:") else health.sentence


def _previous(last: RunSummary | None) -> str:
    return f"{PREVIOUS} {last.outcome}: {last.sentence}" if last else ""


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
