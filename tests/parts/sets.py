"""Backup sets without contents, for tests that work with whole sets: keys with the right names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

from jobs.backup.sets.marker import MARKER
from jobs.backup.sets.results import VerificationResult, precise_timestamp, result_name
from jobs.backup.sets.sets import SIGNATURE, Set, set_prefix, sets_from_listing
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE, SigningKey
from jobs.backup.sets.trust import TRUST_ALL, sign_name
from jobs.store import Store
from tests.parts.signing import RESULT_SIGNER, SET_SIGNER

PARTS = ("defs.0", "data-1.0", "rest.0")


def set_id(at: datetime, tail: str = "3f9a") -> str:
    """Return the id of a set that started at this time."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"


def keys(
    at: datetime,
    *,
    environment: str = "try",
    database: str = "shop",
    complete: bool = True,
    encrypted: bool = False,
    signer: SigningKey | None = SET_SIGNER,
) -> Iterator[str]:
    """Yield the keys of one set, the manifest and its signature last."""
    prefix = set_prefix(environment, database, set_id(at))
    yield from (prefix + part for part in PARTS)
    if complete:
        encryption = "age" if encrypted else "plain"
        marker = f"{prefix}{MARKER}{precise_timestamp(at + timedelta(minutes=1))}-{encryption}-{'0' * 64}"
        yield sign_name(marker, signer, MANIFEST_NAMESPACE)
        yield f"{prefix}manifest.json"
        if signer is not None:
            yield prefix + SIGNATURE


def listed(
    started: datetime,
    *,
    environment: str = "staging",
    complete: bool = True,
    verified: datetime | None = None,
    failed: datetime | None = None,
) -> Set:
    """Return a set as a listing shows it, with results of verifications. Signatures do not matter."""
    outcomes = [(at, is_failed) for at, is_failed in ((verified, False), (failed, True)) if at is not None]
    results = [VerificationResult(at, has, result_name(at, b"", failed=has)) for at, has in outcomes]
    return Set(
        environment=environment,
        database="shop",
        id=set_id(started),
        started=started,
        size=1,
        completed=started + timedelta(minutes=1) if complete else None,
        pinned=False,
        tags=(),
        trust=TRUST_ALL,
        results=tuple(sorted(results, reverse=True)),
    )


def result(at: datetime, verified: datetime, *, failed: bool = False, signer: SigningKey | None = RESULT_SIGNER) -> str:
    """Return the name of a result in the set that put() writes."""
    prefix = set_prefix("try", "shop", set_id(at))
    signed = sign_name(prefix + result_name(verified, b"", failed=failed), signer, VERIFICATION_NAMESPACE)
    return signed.removeprefix(prefix)


def stored_sets(store: Store, environment: str = "try", database: str = "shop") -> list[Set]:
    """Return the sets of a database, as if their signatures did not matter."""
    prefix = set_prefix(environment, database)
    return list(sets_from_listing(environment, store.list(prefix), TRUST_ALL))


def put(
    store: Store,
    at: datetime,
    *extra_keys: str,
    complete: bool = True,
    database: str = "shop",
    encrypted: bool = False,
    signer: SigningKey | None = SET_SIGNER,
) -> str:
    """Write a set into a store, with additional keys such as `pin`. Return its id."""
    for key in keys(at, complete=complete, database=database, encrypted=encrypted, signer=signer):
        store.put(key, b"12345")
    for name in extra_keys:
        store.put(set_prefix("try", database, set_id(at)) + name, b"")
    return set_id(at)


def daily(newest: datetime, count: int) -> Iterable[datetime]:
    """Return the newest time and the same time on the days before it, `count` in all."""
    return [newest - timedelta(days=n) for n in range(count)]
