"""The mark of a store: a small object that says for which environment it was made.

Without it, a mistyped URL or an unmounted disk would look like a store without backups.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from inventories import ExitCode
from jobs.store.factory import why_no_directory
from jobs.store.interface import Exists, ListedPrefix, Missing, Store, StoreError

_SHOWN = 5


class NotMarked(StoreError):
    """The store was not made for this environment: its URL is wrong, its disk is not mounted, or it is new."""

    exit_code = ExitCode.BAD_CONFIGURATION


def mark_key(environment: str) -> str:
    """Return the key of an environment's mark."""
    return f"{environment}/groundcrew.json"


def require_mark(store: Store, environment: str, setting: str = "store.url") -> None:
    """Raise NotMarked if the store was not made for this environment; `setting` names its URL. Costs one request."""
    make = f"crew check {environment} --create"
    if missing := why_no_directory(store.url):
        raise NotMarked(f"{setting}: {missing}; mount its disk, or correct the URL. To make a new store there: {make}")
    try:
        mark = store.get(mark_key(environment))
    except Missing:
        raise NotMarked(
            f"{store.url}: {_why_not_marked(environment, environments_in(store), setting)}: {make}"
        ) from None
    if b'"environment"' not in mark.body:
        raise StoreError(
            f"{store.url}: {mark_key(environment)} is not a mark of groundcrew; check {setting} and endpoint"
        )


def require_another_place(copy: Store, store: Store, environment: str, setting: str) -> None:
    """Raise NotMarked if a copy is the store itself under another name: its retention would remove sets of the store.

    The two have the same random ID in their mark.
    """
    key = mark_key(environment)
    identifier = _mark_id(store.get(key).body)
    if identifier and identifier == _mark_id(copy.get(key).body):
        raise NotMarked(
            f"{copy.url} is the same place as {store.url}, or another program has copied it: both have the same mark. "
            f"Correct {setting}. If it is another place, delete {key} there, then: crew check {environment} --create"
        )


def _mark_id(body: bytes) -> str:
    """Return the random ID of a mark; empty if it has none."""
    with suppress(ValueError, AttributeError):
        return str(json.loads(body).get("id", ""))
    return ""


def _why_not_marked(environment: str, found: Sequence[str], setting: str) -> str:
    """Return why a store is refused, up to the command that makes it."""
    if environment in found:
        return f"has data of {environment} but no mark, because an older groundcrew made this store. To mark it"
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    content = f"It has data of {', '.join(found[:_SHOWN])}{more}" if found else "It has no groundcrew data"
    return (
        f"this store was not made for {environment}. {content}. "
        f"Correct {setting}, or mount its disk. To make a store for {environment} there"
    )


def mark_body(environment: str) -> bytes:
    """Return the content of a mark."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    mark = {"format": 1, "environment": environment, "made": made, "id": secrets.token_hex(8)}
    return json.dumps(mark).encode()


def make_store(store: Store, environment: str) -> bool:
    """Mark a store for an environment, and create its directory; return whether it had no mark before."""
    store.prepare()
    with suppress(Exists):
        store.create(mark_key(environment), mark_body(environment))
        return True
    return False


def environments_in(store: Store) -> list[str]:
    """Return the names of the environments that have data in a store."""
    names = [folder.key.rstrip("/") for folder in store.folders() if isinstance(folder, ListedPrefix)]
    return [name for name in names if any(_is_ours(name, each.key) for each in store.folders(f"{name}/"))]


def _is_ours(name: str, key: str) -> bool:
    return key == mark_key(name) or key in (f"{name}/{folder}/" for folder in ("backups", "runs", "locks"))
