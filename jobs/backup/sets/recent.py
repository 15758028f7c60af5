"""Find out whether a database has a backup set of a run, with one listing."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from inventories import BadEnvironment
from jobs.backup.sets.sets import is_dated_ahead, set_prefix, sets_from_listing
from jobs.backup.sets.trust import TRUST_ALL, Trust, trust_of
from jobs.run.documents import key_timestamp
from jobs.store import Store

if TYPE_CHECKING:
    from inventories import Environment


def has_set_since(store: Store, environment: Environment, database: str, since: datetime, now: datetime) -> bool:
    """Whether a complete and trusted set of a database started since a time, and not in the future."""
    prefix = set_prefix(environment.name, database)
    listing = store.list(prefix, f"{prefix}{key_timestamp(since)}/")
    sets = sets_from_listing(environment.name, listing, _trust_here(environment), now)
    return any(each.complete and not is_dated_ahead(each, now) and each.untrusted is None for each in sets)


def _trust_here(environment: Environment) -> Trust:
    """Return what the environment trusts; everything on a machine that has no key to know it by."""
    try:
        return trust_of(environment)
    except BadEnvironment:
        return TRUST_ALL
