"""Write a small signed set into a store, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pyrage

from jobs.backup.sets.manifest import Manifest, Part, PartKind, SourceServer
from jobs.backup.sets.sets import set_prefix
from jobs.backup.sets.signatures import SigningKey
from jobs.backup.sets.writing import PartWriter
from jobs.backup.take.dump import store_description
from jobs.backup.take.take import publish_set
from jobs.store import Store
from tests.parts.sets import set_id
from tests.unit.jobs.backup.sets.test_description import DESCRIPTION

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())


def write_set(
    store: Store,
    signer: SigningKey,
    at: datetime,
    *,
    content: bytes = b"the rows",
    rest: bytes | None = None,
    recipients: tuple[str, ...] = (RECIPIENT,),
) -> str:
    """Write a set of staging's database shop that started then, and return its ID."""
    manifest = Manifest(
        set=set_id(at),
        environment="staging",
        database="shop",
        started=at,
        ended=at + timedelta(minutes=1),
        run="r1",
        tags=(),
        server=SourceServer("16.4", 16, "7300000000000000001", standby=False),
        tools={"groundcrew": "0.1.0", "pg_dump": "16.4"},
        recipients=recipients,
        parts=(),
    )
    prefix = set_prefix("staging", "shop", manifest.set)
    parts = [_write_part(store, prefix, recipients, "defs", PartKind.DEFINITIONS, content)]
    if rest is not None:
        parts.append(_write_part(store, prefix, recipients, "rest", PartKind.REST, rest))
    parts.append(store_description(store, prefix, recipients, DESCRIPTION))
    publish_set(store, prefix, replace(manifest, parts=tuple(parts)), signer)
    return manifest.set


def _write_part(
    store: Store, prefix: str, recipients: tuple[str, ...], name: str, kind: PartKind, content: bytes
) -> Part:
    with store.upload(f"{prefix}{name}") as upload:
        writer = PartWriter(upload, recipients)
        writer.write_all([content])
        return writer.complete(name, kind, len(content))
