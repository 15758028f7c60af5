"""Go on after an upload broke off: wait for the store, then upload again what was not stored.

PostgreSQL keeps the snapshot meanwhile, so a part that is dumped again has the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from inventories import redact
from jobs.backup.errors import BackupError
from jobs.backup.sets.manifest import NUMBERS_PER_TRY
from jobs.run.job import Run
from jobs.store import Expired, OutOfReach, Store, StoreError

T = TypeVar("T")

TRIES = 4


def upload_again(
    run: Run, names: Sequence[str], upload: Callable[[int], T], check: Callable[[], None] = lambda: None
) -> tuple[T, tuple[str, ...]]:
    """Upload something, again if its upload breaks off; return its result, and why each earlier try broke off.

    `upload` takes the number of its first objects. `check` raises if there is no use in another try.
    """
    reasons: list[str] = []
    while True:
        try:
            return upload(len(reasons) * NUMBERS_PER_TRY), tuple(reasons)
        except (OutOfReach, Expired) as error:
            run.check()
            check()
            reasons.append(redact(str(error)))
            if len(reasons) == TRIES:
                raise BackupError(f"{error}; the upload of {' and '.join(names)} broke off {TRIES} times") from error
        run.log.warning("upload broke off, will be repeated", of=" and ".join(names), why=reasons[-1])
        run.wait_for_store(len(reasons), check)


def abort_open_uploads(store: Store, key: str) -> None:
    """Abort what an earlier try of an upload left open; retention removes what cannot be aborted."""
    with suppress(StoreError):
        for each in store.open_uploads(f"{key}."):
            store.abort_upload(each)
