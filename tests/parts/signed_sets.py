"""Write a small signed set into a store, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pyrage

from jobs.backup.sets.manifest import Manifest, PartKind, SourceServer
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
    store: Store, signer: SigningKey, at: datetime, *, content: bytes = b"the rows", tail: str = "3f9a"
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
        recipients=(RECIPIENT,),
        parts=(),
    )
    prefix = set_prefix("staging", "shop", manifest.set)
    with store.upload(f"{prefix}defs") as upload:
        writer = PartWriter(upload, manifest.recipients)
        writer.write_all([content])
        definitions = writer.complete("defs", PartKind.DEFINITIONS, len(content))
    described = store_description(store, prefix, manifest.recipients, DESCRIPTION)
    publish_set(store, prefix, replace(manifest, parts=(definitions, described)), signer)
    return manifest.set
