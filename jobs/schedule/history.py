"""When each slot of a schedule ran last, according to the run records in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import chain

from inventories import Environment
from jobs.run.documents import key_time
from jobs.run.record import record_keys
from jobs.schedule.due import last_complete_run, last_run
from jobs.schedule.slots import Slot
from jobs.store import Store


def last_runs(store: Store, environment: str, slots: Collection[Slot], now: datetime) -> Mapping[Slot, datetime]:
    """Return the tick or start time of each slot's newest run; uses LIST requests only."""
    by_slot = _run_times(store, environment, slots)
    newest = {slot: last_run(chain.from_iterable(by_slot[slot].values()), now) for slot in slots}
    return {slot: time for slot, time in newest.items() if time}


def last_complete_runs(
    store: Store, environment: Environment, slots: Collection[Slot], now: datetime
) -> Mapping[Slot, datetime]:
    """Return the tick or start time of each slot's newest run that no subject lacks; uses LIST requests only."""
    by_slot, zone = _run_times(store, environment.name, slots), environment.timezone
    newest = {slot: last_complete_run(by_slot[slot], slot.line, zone, now) for slot in slots}
    return {slot: time for slot, time in newest.items() if time}


def _run_times(store: Store, environment: str, slots: Collection[Slot]) -> dict[Slot, dict[str, list[datetime]]]:
    """Return the tick or start time of each run, by slot and subject."""
    by_slot: dict[Slot, dict[str, list[datetime]]] = {slot: {} for slot in slots}
    for key in (key for job in {slot.job for slot in slots} for key in record_keys(store, environment, job)):
        job, subject = _job_and_subject(key)
        for slot, by_subject in by_slot.items():
            if job == slot.job and slot.owns(subject):
                by_subject.setdefault(subject, []).append(key_time(key))
    return by_slot


def _job_and_subject(key: str) -> tuple[str, str]:
    job, _, subject = key.split("/runs/", 1)[1].rpartition("/")[0].partition("/")
    return job, subject
