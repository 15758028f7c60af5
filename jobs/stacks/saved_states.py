"""Save a stack's state in the store, encrypted, and keep the newest ones."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.run.job import Run

STATES_KEPT = 30


def save_state(run: Run, stack: str, state: str, now: datetime | None = None) -> str:
    """Save a state, encrypted as backups are, remove all but the newest 30, and return the key."""
    from jobs.backup import encrypt

    recipients = run.environment.store.encrypt_to if run.environment.store else ()
    encrypted = BytesIO()
    encrypt([state.encode()], encrypted, recipients)
    folder = f"{run.environment.name}/state/{stack}/"
    timestamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S%fZ")
    key = f"{folder}{timestamp}.tfstate.zst{'.age' if recipients else ''}"
    run.store.create(key, encrypted.getvalue())
    _remove_old_states(run, folder)
    return key


def _remove_old_states(run: Run, folder: str) -> None:
    """Remove all but the newest states; only log a failure, because these credentials may lack the right to delete."""
    from jobs.store import StoreError

    try:
        keys = sorted(entry.key for entry in run.store.list(folder))
        refused = run.store.delete(keys[:-STATES_KEPT]) if len(keys) > STATES_KEPT else ()
    except StoreError as error:
        run.log.warning("old states not removed", why=str(error))
        return
    if refused:
        run.log.warning("old states not removed", why=refused[0].why, states=len(refused))
