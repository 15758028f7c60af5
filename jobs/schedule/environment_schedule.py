"""The daemon's state for one environment, and what it should start now. Starts no process and reads no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from inventories import Environment
from jobs.run.ticks import Gap, next_ticks
from jobs.schedule.due import Due, due, first_tick_after, upcoming
from jobs.schedule.slots import Slot, run_arguments

FIRST_RETRY = timedelta(minutes=10)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Launch:
    """Slots of one job that are due at one tick: one process runs them, side by side."""

    environment: str
    job: str
    tick: datetime
    slots: tuple[Slot, ...]
    gaps: tuple[tuple[Slot, Gap], ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `crew`."""
        return run_arguments(self.environment, self.job, (slot.name for slot in self.slots if slot.name))


@dataclass(frozen=True, slots=True)
class Retry:
    """A tick whose process left no record: it is started again after a pause that doubles each time."""

    tick: datetime
    pause: timedelta
    at: datetime


@dataclass
class EnvironmentSchedule:
    """The schedule of one environment and what is known of its runs."""

    environment: Environment
    slots: tuple[Slot, ...]
    since: datetime
    last: dict[Slot, datetime] = field(default_factory=dict)
    retries: dict[Slot, Retry] = field(default_factory=dict)
    running: set[Slot] = field(default_factory=set)
    has_last_runs: bool = False
    next_query: datetime = LONG_AGO
    idle_until: datetime = LONG_AGO
    """Before that time nothing is due, unless a run ends or the last runs are read."""

    def set_last_runs(self, last: Mapping[Slot, datetime]) -> None:
        """Store the last runs from the records: ticks missed since then become due."""
        self.last, self.has_last_runs, self.idle_until = dict(last), True, LONG_AGO

    def reset(self, now: datetime) -> None:
        """Drop all times after the clock went back: until the records are read again, only ticks after now are due."""
        self.last, self.retries, self.has_last_runs = {}, {}, False
        self.since, self.next_query, self.idle_until = now, LONG_AGO, LONG_AGO

    def launches(self, now: datetime) -> list[Launch]:
        """Return what is due and not running, grouped by job and tick."""
        if now < self.idle_until:
            return []
        pending = [each for slot in self.slots if slot not in self.running and (each := self._due(slot, now))]
        if not pending:
            waiting = (slot for slot in self.slots if slot not in self.running)
            self.idle_until = min((self._next_change(slot, now) for slot in waiting), default=LONG_AGO)
        pending.sort(key=lambda each: (each.slot.job, each.tick))
        return [
            Launch(
                self.environment.name,
                job,
                tick,
                tuple(each.slot for each in group),
                tuple((each.slot, each.gap) for each in group if each.gap),
            )
            for (job, tick), grouped in groupby(pending, key=lambda each: (each.slot.job, each.tick))
            for group in [tuple(grouped)]
        ]

    def _due(self, slot: Slot, now: datetime) -> Due | None:
        pending = due(slot, self.environment.timezone, self.last.get(slot, self.since), now)
        retry = self.retries.get(slot)
        return None if pending and retry and retry.tick == pending.tick and now < retry.at else pending

    def _next_change(self, slot: Slot, now: datetime) -> datetime:
        """Return when a slot that is not due now becomes due: at its next tick, or after the pause before its retry."""
        first = first_tick_after(slot.line, self.environment.timezone, self.last.get(slot, self.since))
        retry = self.retries.get(slot)
        if first > now or retry is None or retry.at <= now:
            return first
        return min(retry.at, next(next_ticks(slot.line, self.environment.timezone, now)))

    def mark_started(self, launch: Launch) -> None:
        self.running.update(launch.slots)

    def mark_ended(self, launch: Launch, last: Mapping[Slot, datetime], now: datetime) -> tuple[Slot, ...]:
        """Store the last runs after a process ended; return the slots whose tick has no record."""
        self.running.difference_update(launch.slots)
        self.idle_until = LONG_AGO
        unrecorded = tuple(slot for slot in launch.slots if last.get(slot, launch.tick - FIRST_RETRY) < launch.tick)
        for slot in launch.slots:
            if slot in unrecorded:
                earlier = self.retries.get(slot)
                pause = earlier.pause * 2 if earlier and earlier.tick == launch.tick else FIRST_RETRY
                self.retries[slot] = Retry(launch.tick, pause, now + pause)
            else:
                self.retries.pop(slot, None)
                self.last[slot] = last[slot]
        return unrecorded

    def next_tick(self, now: datetime) -> datetime | None:
        """Return the next tick of any slot."""
        return min(self._upcoming(now), default=None)

    def _upcoming(self, now: datetime) -> Iterable[datetime]:
        return (upcoming(slot, self.environment.timezone, now, 1)[0] for slot in self.slots)

    def reloaded(self, environment: Environment, slots: tuple[Slot, ...], now: datetime) -> EnvironmentSchedule:
        """Return the schedule for a changed file; runs in progress continue."""
        unchanged = set(slots)
        return EnvironmentSchedule(
            environment,
            slots,
            now,
            {slot: self.last.get(slot, self.since) for slot in self.slots if slot in unchanged},
            {slot: retry for slot, retry in self.retries.items() if slot in unchanged},
            self.running,
        )
