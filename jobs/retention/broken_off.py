"""Tell the set of a run that was killed while it published it from a set whose manifest somebody removed."""

from __future__ import annotations

from datetime import timedelta

from jobs.backup import Set
from jobs.run.job import Outcome
from jobs.run.lease import Holder
from jobs.run.record import read_record, record_keys
from jobs.store import Store

_LONGEST_START = timedelta(days=1)
"""A run begins so long before its set at most: it can wait for the store, and try again."""


def broke_off(store: Store, backup_set: Set, holder: Holder | None) -> bool:
    """Return whether records say that the run which wrote a set failed or died, and none says that it published it.

    `holder` holds the lock of the database's backups. It is dead if the set is older than a day and still incomplete.
    """
    environment, database = backup_set.environment, backup_set.database
    since = backup_set.started - _LONGEST_START
    earlier = [
        key
        for key in record_keys(store, environment, "backup", database, since=since)
        if _time_of(key.run) <= _time_of(backup_set.id)
    ]
    died = holder is not None and not holder.released and _time_of(holder.run) <= _time_of(backup_set.id)
    if not died and not any(key.outcome in (Outcome.FAILED, Outcome.DIED) for key in earlier):
        return False
    ended_well = (read_record(store, key.key) for key in earlier if key.outcome in (Outcome.DONE, Outcome.FINDING))
    return all(record is None or record.figures.get("set") != backup_set.id for record in ended_well)


def _time_of(run_or_set: str) -> str:
    """Return the time in the ID of a run or a set."""
    return run_or_set.partition("-")[0]
