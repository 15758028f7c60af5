"""Save a stack's state in the store, encrypted, keep the newest ones, list and read them."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING

from jobs.stacks.pruning import remove_all_but_newest

if TYPE_CHECKING:
    from jobs.run.job import Run

STATES_KEPT = 30
_TIME = "%Y%m%dT%H%M%S%fZ"
_NAME = re.compile(r"(?P<id>\d{8}T\d{12}Z)(?:\.(?P<serial>\d+)\.(?P<before>[a-z]+))?\.tfstate\.zst(?P<age>\.age)?")


@dataclass(frozen=True, slots=True)
class SavedState:
    """A saved state, as its key describes it."""

    id: str
    saved: datetime
    serial: int | None
    before: str | None
    """The command that was about to change the state."""
    size: int
    key: str
    is_encrypted: bool


def save_state(run: Run, stack: str, state: str, *, before: str, now: datetime | None = None) -> str:
    """Save a state, encrypted as backups are, remove all but the newest 30, and return its ID.

    The key names the serial number of the state and the command, so that a list needs no key to decrypt.
    """
    from jobs.backup import encrypt
    from terraform.state import state_version

    recipients = run.environment.store.encrypt_to if run.environment.store else ()
    encrypted = BytesIO()
    encrypt([state.encode()], encrypted, recipients)
    identifier = (now or datetime.now(UTC)).strftime(_TIME)
    name = f"{identifier}.{state_version(state).number}.{before}.tfstate.zst{'.age' if recipients else ''}"
    folder = _folder(run, stack)
    run.store.create(f"{folder}{name}", encrypted.getvalue())
    remove_all_but_newest(run, lambda: sorted(entry.key for entry in run.store.list(folder)), STATES_KEPT, "states")
    return identifier


def saved_states(run: Run, stack: str) -> list[SavedState]:
    """Return the saved states of a stack, newest first."""
    folder, found = _folder(run, stack), []
    for entry in run.store.list(folder):
        match = _NAME.fullmatch(entry.key.removeprefix(folder))
        saved = _time(match["id"]) if match else None
        if match and saved:
            serial = int(match["serial"]) if match["serial"] else None
            encrypted = bool(match["age"])
            found.append(SavedState(match["id"], saved, serial, match["before"], entry.size, entry.key, encrypted))
    return sorted(found, key=lambda state: state.key, reverse=True)


def read_state(run: Run, stack: str, identifier: str) -> str:
    """Return a saved state as JSON; StackError if there is none with this ID, or no key here decrypts it."""
    from jobs.backup import LimitedSink, decrypt
    from jobs.store import LARGE_DOCUMENT_LIMIT
    from terraform.errors import StackError

    name = f"{run.environment.name}/{stack}"
    found = next((state for state in saved_states(run, stack) if state.id == identifier), None)
    if found is None:
        command = f"crew stacks states {run.environment.name} {stack}"
        raise StackError(f"{name}: no state with the ID {identifier} is saved; list them with: {command}")
    settings = run.environment.store
    key = settings.decrypt_with if settings else None
    if settings and settings.encrypt_to and not found.is_encrypted:
        raise StackError(
            f"{name}: saved state {identifier} is not encrypted although encrypt_to names keys, so somebody who can "
            f"write the store could have planted it; if you trust it, read {found.key} yourself"
        )
    if found.is_encrypted and key is None:
        raise StackError(
            f"{name}: saved state {identifier} is encrypted, and {run.environment.name}.toml has no key to decrypt it; "
            'set decrypt_with = { file = "…" } under [store]'
        )
    sink, identity = LimitedSink(), key.reveal() if key and found.is_encrypted else None
    decrypt([run.store.get(found.key, LARGE_DOCUMENT_LIMIT).body], sink, identity)
    state = sink.body.getvalue()
    if not _is_state(state):
        raise StackError(f"{name}: saved state {identifier} is damaged, or was not written by groundcrew; use another")
    return state.decode()


def _is_state(body: bytes) -> bool:
    """Whether this is a state that can be shown and compared. Everybody who can write the store can write one."""
    from terraform.state import state_contents, state_version

    try:
        version = state_version(body)
        state_contents(body.decode())
    except (ValueError, TypeError, AttributeError, RecursionError):
        return False
    return isinstance(version.lineage, str) and isinstance(version.number, int)


def _time(identifier: str) -> datetime | None:
    """Return the time in the key of a state; None if there is no such time."""
    with suppress(ValueError):
        return datetime.strptime(identifier, _TIME).replace(tzinfo=UTC)
    return None


def _folder(run: Run, stack: str) -> str:
    return f"{run.environment.name}/state/{stack}/"
