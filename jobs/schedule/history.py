"""When each slot of a schedule ran last, according to the run records in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from jobs.run.documents import key_time
from jobs.run.record import record_keys
from jobs.schedule.due import last_run
from jobs.schedule.slots import Slot
from jobs.store import Store


def last_runs(store: Store, environment: str, slots: Collection[Slot], now: datetime) -> Mapping[Slot, datetime]:
    """Return the tick or start time of each slot's newest run; uses LIST requests only."""
    keys = [key for job in {slot.job for slot in slots} for key in record_keys(store, environment, job)]
    runs = [(*_job_and_subject(key), key_time(key)) for key in keys]
    newest = {
        slot: last_run((time for job, subject, time in runs if job == slot.job and slot.owns(subject)), now)
        for slot in slots
    }
    return {slot: time for slot, time in newest.items() if time}


def _job_and_subject(key: str) -> tuple[str, str]:
    job, _, subject = key.split("/runs/", 1)[1].rpartition("/")[0].partition("/")
    return job, subject
