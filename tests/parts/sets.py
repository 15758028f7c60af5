"""Backup sets without contents, for tests that work with whole sets: keys with the right names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from jobs.backup.sets.manifest import (
    MANIFEST,
    Manifest,
    Part,
    PartKind,
    PartPiece,
    SourceServer,
    decode_manifest,
    encode_manifest,
)
from jobs.backup.sets.marker import marker_name
from jobs.backup.sets.results import VerificationResult, result_name
from jobs.backup.sets.sets import SIGNATURE, Set, set_prefix, sets_from_listing
from jobs.backup.sets.signatures import MANIFEST_NAMESPACE, VERIFICATION_NAMESPACE, SigningKey
from jobs.backup.sets.trust import TRUST_ALL, sign_name
from jobs.store import Store
from tests.parts.signing import RESULT_SIGNER, SET_SIGNER

PARTS = ("defs.0", "data-1.0", "rest.0")
CONTENT = b"12345"


def set_id(at: datetime, tail: str = "3f9a") -> str:
    """Return the id of a set that started at this time."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{tail}"


def manifest_of(at: datetime, environment: str = "try", database: str = "shop", *, encrypted: bool = False) -> bytes:
    """Return the manifest of a set whose pieces are all CONTENT."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    kinds = (PartKind.DEFINITIONS, PartKind.TABLE, PartKind.REST)
    pieces = [(PartPiece(key, len(CONTENT), sha256),) for key in PARTS]
    parts = [Part(of[0].key[:-2], kind, of, sha256, 5) for kind, of in zip(kinds, pieces, strict=True)]
    manifest = Manifest(
        set=set_id(at),
        environment=environment,
        database=database,
        started=at,
        ended=at + timedelta(minutes=1),
        run="r1",
        tags=(),
        server=SourceServer("16.4", 16, "7300000000000000001", standby=False),
        tools={"groundcrew": "0.1.0", "pg_dump": "16.4"},
        recipients=("age1",) if encrypted else (),
        parts=(*parts, Part("description", PartKind.DESCRIPTION, (), sha256, 0)),
    )
    return encode_manifest(manifest)


def objects(
    at: datetime,
    *,
    environment: str = "try",
    database: str = "shop",
    complete: bool = True,
    encrypted: bool = False,
    signer: SigningKey | None = SET_SIGNER,
) -> dict[str, bytes]:
    """Return the objects of one set by key, the manifest and its signature last."""
    prefix = set_prefix(environment, database, set_id(at))
    found = {prefix + part: CONTENT for part in PARTS}
    if complete:
        body = manifest_of(at, environment, database, encrypted=encrypted)
        marker = prefix + marker_name(decode_manifest(body, prefix), body)
        found[sign_name(marker, signer, MANIFEST_NAMESPACE)] = b""
        found[prefix + MANIFEST] = body
        if signer is not None:
            found[prefix + SIGNATURE] = signer.sign(body, MANIFEST_NAMESPACE)
    return found


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
    about = hashlib.sha256(manifest_of(at)).hexdigest()
    signed = sign_name(prefix + result_name(verified, b"", failed=failed), signer, VERIFICATION_NAMESPACE, about)
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
    written = objects(at, complete=complete, database=database, encrypted=encrypted, signer=signer)
    for key, body in written.items():
        store.put(key, body)
    for name in extra_keys:
        store.put(set_prefix("try", database, set_id(at)) + name, b"")
    return set_id(at)


def daily(newest: datetime, count: int) -> Iterable[datetime]:
    """Return the newest time and the same time on the days before it, `count` in all."""
    return [newest - timedelta(days=n) for n in range(count)]
