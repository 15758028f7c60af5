"""Keep only the newest objects of a folder in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.run.job import Run


def remove_all_but_newest(run: Run, oldest_first: Callable[[], Sequence[str]], kept: int, what: str) -> None:
    """Remove all but the newest keys; only log a failure, because these credentials may lack the right to delete."""
    from jobs.store import StoreError

    try:
        keys = oldest_first()
        refused = run.store.delete(keys[:-kept]) if len(keys) > kept else ()
    except StoreError as error:
        run.log.warning(f"old {what} not removed", why=str(error))
        return
    if refused:
        run.log.warning(f"old {what} not removed", why=refused[0].why, refused=len(refused))
