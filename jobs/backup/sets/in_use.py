"""A note in a set that a restore or a verification reads it now, so that retention does not remove it meanwhile.

The note is an object in the folder of results, because the credentials of restores and verifications may write there.
It is written again and again, and its modification time counts. So a killed reader leaves a note that soon expires.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from jobs.backup.sets.results import RESULTS
from jobs.backup.sets.stored import StoredSet
from jobs.run.job import Run
from jobs.store import StoreError

IN_USE = f"{RESULTS}in-use"
RENEWAL = timedelta(minutes=2)
LASTS = timedelta(minutes=15)


def is_in_use(noted: datetime | None, now: datetime) -> bool:
    """Whether a note of this time still counts. One of the future shows a wrong clock."""
    return noted is not None and abs(now - noted) <= LASTS


@contextmanager
def noted_as_in_use(stored: StoredSet, run: Run) -> Iterator[None]:
    """Note inside this context that the set is in use. Without the right to write, it is read without a note."""
    ended = threading.Event()
    if _note(stored, run):
        threading.Thread(target=_renew, args=(stored, run, ended), name="in use", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _renew(stored: StoredSet, run: Run, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL.total_seconds()):
        _note(stored, run)


def _note(stored: StoredSet, run: Run) -> bool:
    try:
        stored.store.put(stored.key(IN_USE), b"")
    except StoreError as error:
        run.log.debug("cannot note that the set is in use, so retention can remove it", why=str(error))
        return False
    return True
