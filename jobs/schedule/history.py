"""When the slots of a schedule ran last, by the records in the store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from jobs.run.documents import key_time
from jobs.run.record import record_keys
from jobs.schedule.due import last_run
from jobs.schedule.slots import Slot
from jobs.store import Store


def last_runs(store: Store, environment: str, slots: Collection[Slot], now: datetime) -> Mapping[Slot, datetime]:
    """The tick or start of the newest run of each slot that has one: LIST calls only."""
    keys = [key for job in {slot.job for slot in slots} for key in record_keys(store, environment, job)]
    runs = [(*_job_and_subject(key), key_time(key)) for key in keys]
    found = {
        slot: last_run((at for job, subject, at in runs if job == slot.job and slot.owns(subject)), now)
        for slot in slots
    }
    return {slot: last for slot, last in found.items() if last}


def _job_and_subject(key: str) -> tuple[str, str]:
    job, _, subject = key.split("/runs/", 1)[1].rpartition("/")[0].partition("/")
    return job, subject
