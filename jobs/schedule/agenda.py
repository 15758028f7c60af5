"""What is on the clock of an environment: each slot with its last run, whether it is late, and its next runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.run.lease import Holder
from jobs.run.record import Record, latest_records, live_holders
from jobs.schedule.due import overdue, upcoming
from jobs.schedule.history import last_runs
from jobs.schedule.slots import Slot, scheduled
from jobs.store import Store


@dataclass(frozen=True, slots=True)
class Item:
    """One slot of the agenda."""

    slot: Slot
    last: Record | None
    running: bool
    overdue: datetime | None
    next: tuple[datetime, ...]


def agenda(environment: Environment, store: Store | None, now: datetime) -> list[Item]:
    """Everything that is on the clock; without a store nothing is known of what ran."""
    slots = scheduled(environment)
    if store is None:
        return [Item(slot, None, False, None, upcoming(slot, environment.timezone, now)) for slot in slots]
    known = RunHistory(
        last_runs(store, environment.name, slots, now),
        latest_records(store, environment.name),
        live_holders(store, environment.name, now),
    )
    return [_item(slot, environment.timezone, known, now) for slot in slots]


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What the store says of an environment's runs."""

    last: Mapping[Slot, datetime]
    records: Sequence[Record]
    holders: Mapping[str, Holder]


def _item(slot: Slot, zone: ZoneInfo, known: RunHistory, now: datetime) -> Item:
    mine = [record for record in known.records if record.job == slot.job and slot.owns(record.subject)]
    held = [name.partition("/") for name in known.holders]
    runs = any(job == slot.job and slot.owns(subject) for job, _, subject in held)
    return Item(
        slot,
        max(mine, key=lambda record: record.started, default=None),
        runs,
        None if runs else overdue(slot, zone, known.last.get(slot), now),
        upcoming(slot, zone, now),
    )
