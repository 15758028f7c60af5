"""Read the locks of many subjects with few requests.

A snapshot holds a copy of each lock's document and its version. A listing shows the current versions, so a reader only
gets the locks that have changed since. A lost or outdated snapshot costs requests only. A forged one can call a held
lock free, and a run then takes it. That is no new right: the credentials that write the snapshot also write the locks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Any

from jobs.run.documents import from_body, to_body
from jobs.run.field_types import require_types
from jobs.run.job import Failed
from jobs.run.lease import Holder, KnownLock, holder_from, lock_prefix
from jobs.store import LARGE_DOCUMENT_LIMIT, Missing, Store, TooLarge

_READERS = 16
_VERSION = re.compile(r"[!#-~]+")  # what an ETag can have between its quotes
_COPY_LIMIT = 128 << 10  # bytes of the copy of one lock, on average


def snapshot_key(environment: str) -> str:
    return f"{environment}/runs/latest.json"


def read_holders(store: Store, environment: str, job: str = "") -> dict[str, Holder]:
    """Return the last holder of each lock by `<job>/<subject>`: running, released, or dead."""
    prefix = lock_prefix(environment)
    listed = {each.key: each.version for each in store.list(f"{prefix}{job}/" if job else prefix)}
    known = _read_snapshot(store, environment, len(listed)) if listed else {}
    bodies = {key: body for key, (version, body) in known.items() if listed.get(key) == version}
    changed = [key for key in listed if key not in bodies]
    if changed:
        with ThreadPoolExecutor(min(_READERS, len(changed))) as pool:
            bodies |= {key: body for key, body in zip(changed, pool.map(_reader(store), changed), strict=True) if body}
    return {
        key.removeprefix(prefix).removesuffix(".json"): holder_from(key, bodies[key].encode())
        for key in listed
        if key in bodies
    }


def known_locks(store: Store, environment: str, keys: Collection[str]) -> dict[str, KnownLock]:
    """Return those of these locks, by key, that the snapshot calls free."""
    found: dict[str, KnownLock] = {}
    for key, (version, body) in _read_snapshot(store, environment, len(keys)).items():
        if key in keys and _VERSION.fullmatch(version):
            with suppress(Failed):
                holder = holder_from(key, body.encode(errors="replace"))
                if holder.released:
                    found[key] = KnownLock(holder, version)
    return found


def live_holders(store: Store, environment: str, now: datetime) -> dict[str, Holder]:
    """Return the holders of all locks that are neither released nor expired."""
    holders = read_holders(store, environment)
    return {name: holder for name, holder in holders.items() if not (holder.released or holder.expired(now))}


def write_snapshot(store: Store, environment: str, locks: Mapping[str, tuple[str, bytes]]) -> None:
    """Add the versions and documents of some locks, by key, to the snapshot. Of two writers at once, one can win.

    Copies of other locks stay only if these still exist, so that nobody can make the snapshot grow.
    """
    listed = {each.key for each in store.list(lock_prefix(environment))}
    known = {key: copied for key, copied in _read_snapshot(store, environment, len(listed)).items() if key in listed}
    known |= {key: (version, body.decode(errors="replace")) for key, (version, body) in locks.items()}
    store.put(snapshot_key(environment), to_body({"locks": known}))


def _read_snapshot(store: Store, environment: str, locks: int) -> dict[str, tuple[str, str]]:
    limit = min(LARGE_DOCUMENT_LIMIT, max(1, locks) * _COPY_LIMIT)
    with suppress(Missing, Failed, TooLarge):
        return from_body("", store.get(snapshot_key(environment), limit).body, _parse)
    return {}


def _parse(fields: dict[str, Any]) -> dict[str, tuple[str, str]]:
    locks = {key: (version, body) for key, (version, body) in fields["locks"].items()}
    require_types(locks, dict[str, tuple[str, str]])
    return locks


def _reader(store: Store) -> Any:
    def read(key: str) -> str:
        with suppress(Missing):  # deleted meanwhile
            return store.get(key).body.decode(errors="replace")
        return ""

    return read
