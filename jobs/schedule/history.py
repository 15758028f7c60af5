"""When each slot of a schedule ran last, according to the locks, which keep the newest runs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from zoneinfo import ZoneInfo

from jobs.run.lease import Holder
from jobs.schedule.due import last_complete_run, last_run
from jobs.schedule.slots import Slot


def last_runs(holders: Mapping[str, Holder], slots: Collection[Slot], now: datetime) -> Mapping[Slot, datetime]:
    """Return the tick or start time of each slot's newest run; the locks are by `<job>/<subject>`."""
    by_slot = _run_times(holders, slots)
    newest = {slot: last_run(chain.from_iterable(by_slot[slot].values()), now) for slot in slots}
    return {slot: time for slot, time in newest.items() if time}


def last_complete_runs(
    holders: Mapping[str, Holder], slots: Collection[Slot], zone: ZoneInfo, now: datetime
) -> Mapping[Slot, datetime]:
    """Return the tick or start time of each slot's newest run that no subject lacks."""
    by_slot = _run_times(holders, slots)
    newest = {slot: last_complete_run(by_slot[slot], slot.line, zone, now) for slot in slots}
    return {slot: time for slot, time in newest.items() if time}


def _run_times(holders: Mapping[str, Holder], slots: Collection[Slot]) -> dict[Slot, dict[str, Sequence[datetime]]]:
    """Return the tick or start time of the newest runs, by slot and subject."""
    by_slot: dict[Slot, dict[str, Sequence[datetime]]] = {slot: {} for slot in slots}
    for name, holder in holders.items():
        job, _, subject = name.partition("/")
        for slot, by_subject in by_slot.items():
            if job == slot.job and slot.owns(subject) and holder.runs.times:
                by_subject[subject] = holder.runs.times
    return by_slot
