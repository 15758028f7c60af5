"""Retention on S3 servers: many keys per request, open uploads, versions, and locked objects."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Environment, Repository
from jobs.backup.sets.sets import set_prefix
from jobs.retention.job import plan_prune, plan_removal, retention, sets_deleted_before
from jobs.run import Options, Outcome, Record, run_job
from jobs.run.job import Failed
from jobs.store import ObjectLock, Store, open_store
from tests.parts.s3 import Bucket, with_object_lock
from tests.parts.sets import daily, put, set_id, stored_sets
from tests.parts.signing import PUBLIC_LINES

NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
FILE = """
[environment]
name = "try"
[store]
url = "{url}"
region = "{region}"
endpoint = "{endpoint}"
encrypt_to = "nobody"
trust = {trust}
{more}
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = {{ daily = 2 }}
"""


def opened(bucket: Bucket, folder: Path, more: str = "") -> tuple[Environment, Store]:
    (folder / "try.toml").write_text(
        FILE.format(trust=PUBLIC_LINES, url=bucket.url, region=bucket.region, endpoint=bucket.endpoint, more=more)
    )
    environment = Repository.find(folder).read("try")
    assert environment.store
    return environment, open_store(environment.store)


def run(environment: Environment, store: Store, *, versions: Collection[str] | None = None) -> Record:
    (record,) = run_job(retention(versions=versions), environment, store, Options())
    return record


def test_sets_and_leftovers_are_removed_and_an_upload_in_progress_stays(seaweed: Bucket, tmp_path: Path) -> None:
    environment, store = opened(seaweed, tmp_path)
    days = daily(NEWEST, 5)
    for at in days:
        put(store, at, "tags/x y+ü", "note.json") if at != days[4] else put(store, at, complete=False)
    upload = store.upload(f"try/backups/shop/{set_id(NEWEST)}/data-1")
    upload.write(bytes(17 << 20))
    record = run(environment, store)
    assert record.sentence.startswith("removed 2 of 4 sets, 30 B; left by failed runs: 1 incomplete set,")
    assert [each.id for each in stored_sets(store)] == [set_id(days[1]), set_id(days[0])]
    assert len(list(store.list("try/backups/"))) == 2 * 8
    assert len(list(store.open_uploads())) == 1
    plan = plan_prune(store, environment, "shop", datetime.now(UTC) + timedelta(days=2))
    assert len(plan.abandoned_uploads) == 1
    upload.abort()


def test_versions_of_removed_sets_are_removed_on_request(moto: Bucket, tmp_path: Path) -> None:
    environment, store = opened(moto, tmp_path)
    client = moto.client()
    client.put_bucket_versioning(Bucket=moto.name, VersioningConfiguration={"Status": "Enabled"})
    for at in daily(NEWEST, 4):
        put(store, at)
    assert run(environment, store).outcome is Outcome.DONE
    assert len(versions(moto)) == 4 * 6 + 2 * 6  # deleted keys still have their versions, and delete markers
    deleted = sets_deleted_before(store, "try", "shop")
    assert deleted == [set_prefix("try", "shop", set_id(at)) for at in reversed(daily(NEWEST, 4)[2:])]
    put(store, NEWEST - timedelta(days=4))
    record = run(environment, store, versions=deleted[:1])
    assert "removed 1 of 3 sets" in record.sentence
    assert "removed 24 old versions" in record.sentence, "of the set that this run removed, and of the confirmed one"
    assert sets_deleted_before(store, "try", "shop") == deleted[1:]
    assert "removed 12 old versions" in run(environment, store, versions=deleted[1:]).sentence
    assert len(versions(moto)) == 2 * 6
    assert len(list(stored_sets(store))) == 2


def test_a_locked_version_stays_without_a_failure_and_the_rest_is_removed(moto: Bucket, tmp_path: Path) -> None:
    locked = with_object_lock(moto)
    environment, store = opened(locked, tmp_path)
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    key = f"try/backups/shop/{set_id(days[3])}/defs.0"
    store.extend_lock(key, ObjectLock(NEWEST + timedelta(days=1), compliance=True))
    record = run(environment, store, versions=())
    assert record.outcome is Outcome.DONE, record.sentence
    assert "locked, so the next runs remove them: 1 key, until " in record.sentence
    assert [each for each, _ in versions(locked)].count(f"{locked.prefix}/{key}") == 2, (
        "the delete marker stays, otherwise the part would reappear"
    )
    assert len(list(stored_sets(store))) == 2


def test_locks_are_renewed_and_a_locked_set_stays_until_its_lock_ends(seaweed: Bucket, tmp_path: Path) -> None:
    environment, store = opened(with_object_lock(seaweed), tmp_path, 'lock = "30d"')
    days = daily(NEWEST, 4)
    ids = [put(store, at) for at in days]
    ends = NEWEST + timedelta(days=3)
    for entry in store.list(set_prefix("try", "shop", ids[3])):
        store.extend_lock(entry.key, ObjectLock(ends))
    plan = plan_prune(store, environment, "shop", datetime.now(UTC))
    assert [each.reasons for each in plan.decisions] == [
        ("newest", "daily"),
        ("daily",),
        (),
        (f"locked until {ends:%Y-%m-%d %H:%M}",),
    ]
    assert [*plan.renewals] == ids[:2], "a set that only its lock keeps gets no new one"
    record = run(environment, store)
    assert record.outcome is Outcome.DONE
    assert "removed 1 of 4 sets" in record.sentence
    assert "renewed the locks of 2 sets" in record.sentence
    assert f"kept by object lock alone: 1 set, until {ends:%Y-%m-%d %H:%M} at most" in record.sentence
    locks = {entry.key: store.object_lock(entry.key) for entry in store.list(set_prefix("try", "shop"))}
    soon, later = datetime.now(UTC) + timedelta(days=29), datetime.now(UTC) + timedelta(days=31)
    for key, lock in locks.items():
        assert lock, key
        assert lock.until == ends if ids[3] in key else soon < lock.until < later
    assert plan_prune(store, environment, "shop", datetime.now(UTC)).renewals == {}
    forged = put(store, NEWEST - timedelta(days=9), signer=None)
    for entry in store.list(set_prefix("try", "shop", forged)):
        store.extend_lock(entry.key, ObjectLock(ends))
    with pytest.raises(Failed, match="is locked until"):
        plan_removal(store, environment, "shop", forged, datetime.now(UTC))


def versions(bucket: Bucket) -> list[tuple[str, str]]:
    """Return key and id of every version and delete marker of the sets."""
    pages = bucket.client().get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    listed = [each for page in pages for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
    return [(each["Key"], each["VersionId"]) for each in listed if "/backups/" in each["Key"]]
