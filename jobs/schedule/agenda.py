"""The agenda of an environment: each slot with its last run, whether it is overdue, and its next runs."""

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
from jobs.schedule.slots import Slot, slots
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
    """Return an item for each slot; without a store, past runs are unknown."""
    zone = environment.timezone
    if store is None:
        return [Item(slot, None, False, None, upcoming(slot, zone, now)) for slot in slots(environment)]
    history = RunHistory(
        last_runs(store, environment.name, slots(environment), now),
        latest_records(store, environment.name),
        live_holders(store, environment.name, now),
    )
    return [_item(slot, zone, history, now) for slot in slots(environment)]


@dataclass(frozen=True, slots=True)
class RunHistory:
    """What the store knows about an environment's runs."""

    last: Mapping[Slot, datetime]
    records: Sequence[Record]
    holders: Mapping[str, Holder]


def _item(slot: Slot, zone: ZoneInfo, history: RunHistory, now: datetime) -> Item:
    records = [record for record in history.records if record.job == slot.job and slot.owns(record.subject)]
    locks = [name.partition("/") for name in history.holders]
    is_running = any(job == slot.job and slot.owns(subject) for job, _, subject in locks)
    return Item(
        slot,
        max(records, key=lambda record: record.started, default=None),
        is_running,
        None if is_running else overdue(slot, zone, history.last.get(slot), now),
        upcoming(slot, zone, now),
    )
