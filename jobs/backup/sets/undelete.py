"""Bring back a set of a versioned bucket that was deleted or overwritten: its objects become the current ones again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from jobs.backup.sets.manifest import MANIFEST
from jobs.backup.sets.marker import MARKER
from jobs.backup.sets.results import RESULTS
from jobs.backup.sets.sets import SIGNATURE
from jobs.backup.sets.stored import StoredSet
from jobs.store import ListedKey, PastStore, Store


def piece_hashes(stored: StoredSet) -> dict[str, str]:
    """Return the sha256 of each piece of a set by its full key, as the manifest says."""
    return {stored.key(piece.key): piece.sha256 for part in stored.manifest.parts for piece in part.pieces}


def lost_objects(
    past: PastStore,
    present: Store,
    prefix: str,
    hashes: Mapping[str, str] = MappingProxyType({}),
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[ListedKey]:
    """Return the objects below a prefix that are gone or changed, in the order of a backup: the signature last.

    So a set that was brought back in part is not complete. Results of verifications come after the set. An object that
    has one of the hashes is not lost.

    `progress` gets the bytes that were read, and how many there are to read. Its first call is before the first byte.
    """
    lost, doubtful = _compare_listings(past.list(prefix), present.list(prefix))
    done, total = 0, sum(entry.size if entry.key in hashes else 2 * entry.size for entry in doubtful)

    def sha256(store: Store, key: str) -> str:
        nonlocal done
        found = hashlib.sha256()
        for chunk in store.read(key):
            found.update(chunk)
            done += len(chunk)
            progress(done, total)
        return found.hexdigest()

    if doubtful:
        progress(done, total)
    for entry in doubtful:
        if sha256(present, entry.key) != (hashes.get(entry.key) or sha256(past, entry.key)):
            lost.append(entry)
    return sorted(lost, key=lambda entry: _rank(entry.key.removeprefix(prefix)))


def _compare_listings(then: Iterable[ListedKey], now: Iterable[ListedKey]) -> tuple[list[ListedKey], list[ListedKey]]:
    """Return the objects of then that are gone or have another size, and those of which only the ETag changed.

    A copy inside S3 gets another ETag than an upload in parts. So only its bytes show whether an object changed.
    """
    there = {entry.key: entry for entry in now}
    lost, doubtful = list[ListedKey](), list[ListedKey]()
    for entry in then:
        found = there.get(entry.key)
        if found is None or found.size != entry.size:
            lost.append(entry)
        elif found.version != entry.version:
            doubtful.append(entry)
    return lost, doubtful


def _rank(name: str) -> tuple[bool, bool, bool, bool]:
    return name.startswith(RESULTS), name == SIGNATURE, name == MANIFEST, name.startswith(MARKER)


def bring_back_objects(past: PastStore, objects: Iterable[ListedKey], check: Callable[[], None]) -> None:
    """Make these objects the current ones again; `check` raises to stop."""
    for entry in objects:
        check()
        past.bring_back(entry.key)
