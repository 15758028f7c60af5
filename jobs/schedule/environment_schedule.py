"""What the daemon knows of one environment, and what it should start: no process, no clock of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby

from inventories import Environment
from jobs.run.ticks import Gap
from jobs.schedule.due import Due, due, upcoming
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
        """What `crew` is called with."""
        return run_arguments(self.environment, self.job, (slot.name for slot in self.slots if slot.name))


@dataclass(frozen=True, slots=True)
class Retry:
    """A tick that was started and left no record: tried again, after a pause that doubles."""

    tick: datetime
    pause: timedelta
    at: datetime


@dataclass
class EnvironmentSchedule:
    """One environment on the clock."""

    environment: Environment
    slots: tuple[Slot, ...]
    since: datetime
    last: dict[Slot, datetime] = field(default_factory=dict)
    again: dict[Slot, Retry] = field(default_factory=dict)
    running: set[Slot] = field(default_factory=set)
    is_informed: bool = False
    ask_at: datetime = LONG_AGO

    def learn(self, last: Mapping[Slot, datetime]) -> None:
        """Take over what the store's records say: what was missed is due now."""
        self.last, self.is_informed = dict(last), True

    def forget(self, now: datetime) -> None:
        """Trust nothing that was known before the clock went back; due is what comes from now on, until told better."""
        self.last, self.again, self.is_informed = {}, {}, False
        self.since, self.ask_at = now, LONG_AGO

    def starts(self, now: datetime) -> list[Launch]:
        """What is due and does not run yet, grouped so that the runner can limit what runs side by side."""
        found = [each for slot in self.slots if slot not in self.running and (each := self._due(slot, now))]
        found.sort(key=lambda each: (each.slot.job, each.tick))
        return [
            Launch(
                self.environment.name,
                job,
                tick,
                tuple(each.slot for each in those),
                tuple((each.slot, each.gap) for each in those if each.gap),
            )
            for (job, tick), group in groupby(found, key=lambda each: (each.slot.job, each.tick))
            for those in [tuple(group)]
        ]

    def _due(self, slot: Slot, now: datetime) -> Due | None:
        found = due(slot, self.environment.timezone, self.last.get(slot, self.since), now)
        waits = self.again.get(slot)
        return None if found and waits and waits.tick == found.tick and now < waits.at else found

    def started(self, start: Launch) -> None:
        self.running.update(start.slots)

    def ended(self, start: Launch, last: Mapping[Slot, datetime], now: datetime) -> tuple[Slot, ...]:
        """Note what the records say of a run that ended; the slots are returned whose tick has none."""
        self.running.difference_update(start.slots)
        without = tuple(slot for slot in start.slots if last.get(slot, start.tick - FIRST_RETRY) < start.tick)
        for slot in start.slots:
            if slot in without:
                before = self.again.get(slot)
                pause = before.pause * 2 if before and before.tick == start.tick else FIRST_RETRY
                self.again[slot] = Retry(start.tick, pause, now + pause)
            else:
                self.again.pop(slot, None)
                self.last[slot] = last[slot]
        return without

    def next(self, now: datetime) -> datetime | None:
        """When something is due next."""
        return min(self._upcoming(now), default=None)

    def _upcoming(self, now: datetime) -> Iterable[datetime]:
        return (upcoming(slot, self.environment.timezone, now, 1)[0] for slot in self.slots)

    def replaced_by(self, environment: Environment, slots: tuple[Slot, ...], now: datetime) -> EnvironmentSchedule:
        """The same watch over a file that was changed; what runs, runs on."""
        kept = set(slots)
        return EnvironmentSchedule(
            environment,
            slots,
            now,
            {slot: self.last.get(slot, self.since) for slot in self.slots if slot in kept},
            {slot: again for slot, again in self.again.items() if slot in kept},
            self.running,
        )
