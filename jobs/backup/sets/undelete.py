"""Bring back a set of a versioned bucket that was deleted or overwritten: its objects become the current ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.marker import MARKER
from jobs.backup.sets.sets import SIGNATURE
from jobs.backup.sets.stored import StoredSet
from jobs.store import ListedKey, PastStore, Store


def piece_hashes(stored: StoredSet) -> dict[str, str]:
    """Return the sha256 of each piece of a set by its full key, as the manifest says."""
    return {stored.key(piece.key): piece.sha256 for part in stored.manifest.parts for piece in part.pieces}


def lost_objects(
    past: PastStore, present: Store, prefix: str, hashes: Mapping[str, str] = MappingProxyType({})
) -> list[ListedKey]:
    """Return the objects below a prefix that are gone or changed, in the order of a backup: the signature last.

    So a set that was brought back in part is not complete. An object that has one of the hashes is not lost.
    """
    there = {entry.key: entry for entry in present.list(prefix)}
    lost = [entry for entry in past.list(prefix) if not _is_there(past, present, entry, there.get(entry.key), hashes)]
    return sorted(lost, key=lambda entry: _rank(entry.key.removeprefix(prefix)))


def _is_there(
    past: PastStore, present: Store, then: ListedKey, now: ListedKey | None, hashes: Mapping[str, str]
) -> bool:
    if now is None or now.size != then.size:
        return False
    if now.version == then.version:
        return True
    # A copy inside S3 gets another ETag than an upload in parts, so the bytes decide.
    expected = hashes.get(then.key) or _sha256(past.read(then.key))
    return _sha256(present.read(then.key)) == expected


def _sha256(chunks: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


def _rank(name: str) -> tuple[bool, bool, bool]:
    return name == SIGNATURE, name == MANIFEST, name.startswith(MARKER)


def bring_back_objects(past: PastStore, objects: Iterable[ListedKey], check: Callable[[], None]) -> None:
    """Make these objects the current ones again; `check` raises to stop."""
    for entry in objects:
        check()
        past.bring_back(entry.key)
