"""The agenda of an environment: each slot with its last run, whether it is overdue, and its next runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.run.holders import read_holders
from jobs.run.latest import RunSummary
from jobs.run.lease import Holder
from jobs.schedule.due import overdue, upcoming
from jobs.schedule.history import last_runs
from jobs.schedule.slots import Slot, slots
from jobs.store import Store


@dataclass(frozen=True, slots=True)
class Item:
    """One slot of the agenda."""

    slot: Slot
    last: RunSummary | None
    running: bool
    overdue: datetime | None
    next: tuple[datetime, ...]


def agenda(environment: Environment, store: Store | None, now: datetime) -> list[Item]:
    """Return an item for each slot; without a store, past runs are unknown."""
    zone = environment.timezone
    if store is None:
        return [Item(slot, None, False, None, upcoming(slot, zone, now)) for slot in slots(environment)]
    holders = read_holders(store, environment.name)
    last = last_runs(holders, slots(environment), now)
    return [_item(slot, zone, holders, last.get(slot), now) for slot in slots(environment)]


def _item(slot: Slot, zone: ZoneInfo, holders: Mapping[str, Holder], last: datetime | None, now: datetime) -> Item:
    names = {name: name.partition("/") for name in holders}
    own = [holders[name] for name, (job, _, subject) in names.items() if job == slot.job and slot.owns(subject)]
    is_running = any(not (holder.released or holder.expired(now)) for holder in own)
    runs = [holder.runs.last for holder in own if holder.runs.last]
    return Item(
        slot,
        max(runs, key=lambda run: run.started, default=None),
        is_running,
        None if is_running else overdue(slot, zone, last, now),
        upcoming(slot, zone, now),
    )
