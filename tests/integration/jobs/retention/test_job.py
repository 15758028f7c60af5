"""Retention on S3 servers: many keys per request, open uploads, versions, and locked objects."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from inventories import Environment, Repository
from jobs.backup.sets.sets import set_prefix
from jobs.retention.job import plan_prune, retention, sets_deleted_before
from jobs.run import Options, Outcome, Record, run_job
from jobs.store import Store, open_store
from tests.parts.s3 import Bucket
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
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
keep = {{ daily = 2 }}
"""


def opened(bucket: Bucket, folder: Path) -> tuple[Environment, Store]:
    (folder / "try.toml").write_text(
        FILE.format(trust=PUBLIC_LINES, url=bucket.url, region=bucket.region, endpoint=bucket.endpoint)
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


def test_a_locked_version_is_reported_and_the_rest_removed(moto_server: str, moto: Bucket, tmp_path: Path) -> None:
    client = moto.client()
    locked = Bucket(moto_server, f"{moto.name}-locked")
    client.create_bucket(Bucket=locked.name, ObjectLockEnabledForBucket=True)
    environment, store = opened(locked, tmp_path)
    days = daily(NEWEST, 4)
    for at in days:
        put(store, at)
    key = f"{locked.prefix}/try/backups/shop/{set_id(days[3])}/defs.0"
    until = datetime.now(UTC) + timedelta(days=1)
    client.put_object_retention(Bucket=locked.name, Key=key, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    record = run(environment, store, versions=())
    assert record.outcome is Outcome.FAILED
    assert record.sentence.startswith(f"could not remove 1 key: {key.removeprefix(locked.prefix + '/')}: AccessDenied")
    assert [each for each, _ in versions(locked)].count(
        key
    ) == 2  # the delete marker stays, otherwise the part would reappear
    assert len(list(stored_sets(store))) == 2


def versions(bucket: Bucket) -> list[tuple[str, str]]:
    """Return key and id of every version and delete marker of the sets."""
    pages = bucket.client().get_paginator("list_object_versions").paginate(Bucket=bucket.name)
    listed = [each for page in pages for each in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
    return [(each["Key"], each["VersionId"]) for each in listed if "/backups/" in each["Key"]]
