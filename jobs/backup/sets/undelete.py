"""Bring back a set of a versioned bucket that was deleted or overwritten: its objects become the current ones again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.marker import MARKER
from jobs.backup.sets.object_locks import lockable_names
from jobs.backup.sets.sets import SIGNATURE
from jobs.store import ListedKey, ObjectLock, PastStore, Store


def lost_objects(past: PastStore, present: Store, prefix: str) -> list[ListedKey]:
    """Return the objects of a set that are gone or changed, in the order of a backup: the signature last.

    So a set that was brought back in part is not complete.
    """
    there = {entry.key: (entry.version, entry.size) for entry in present.list(prefix)}
    lost = [entry for entry in past.list(prefix) if there.get(entry.key) != (entry.version, entry.size)]
    return sorted(lost, key=lambda entry: _rank(entry.key.removeprefix(prefix)))


def _rank(name: str) -> tuple[bool, bool, bool]:
    return name == SIGNATURE, name == MANIFEST, name.startswith(MARKER)


def bring_back_objects(
    past: PastStore, objects: Sequence[ListedKey], lock: ObjectLock | None, check: Callable[[], None]
) -> None:
    """Make these objects the current ones again, and lock those that a backup locks; `check` raises to stop."""
    for entry in objects:
        check()
        past.bring_back(entry.key, lock if lockable_names([_name(entry.key)]) else None)


def _name(key: str) -> str:
    """Return the name of an object in its set."""
    return key.split("/", 4)[-1]
