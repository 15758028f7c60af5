"""A thief empties a bucket: the store as it was has the sets, and undelete brings one back for good."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from jobs.backup import bring_back_objects, lost_objects, sets_from_listing
from jobs.backup.sets.trust import TRUST_ALL
from jobs.format import format_size
from jobs.store import Denied, open_store, s3
from tests.parts.crew import Repository
from tests.parts.patience import until
from tests.parts.postgres import Database
from tests.parts.s3 import Bucket, with_object_lock
from tests.parts.store import Settings


@pytest.fixture
def bucket(seaweed: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Return the bucket with object lock that is the store of each environment."""
    locked = with_object_lock(seaweed)
    settings = {"url": locked.url, "endpoint": locked.endpoint, "region": locked.region, "lock": "30d"}
    for name, value in settings.items():
        monkeypatch.setenv(f"GROUNDCREW__STORE__{name.upper()}", value)
    return locked


def next_second() -> str:
    """Return the current time, and wait for the next second: S3 tells times in seconds."""
    now = datetime.now(UTC)
    until(lambda: datetime.now(UTC).replace(microsecond=0) > now)
    return now.isoformat()


def test_a_thief_empties_the_bucket(
    repository: Repository, shop: Callable[..., Database], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, client = shop(15), bucket.client()
    monday = next_second()
    repository.environment(text=repository.section("shop", origin), protected=True)
    repository.crew("check", "staging", "--create", "--json")
    taken = repository.backup()
    result = f"{bucket.prefix}/staging/backups/shop/{taken}/verifications/old"
    client.put_object(Bucket=bucket.name, Key=result, Body=b"{}")
    before = next_second()
    keys = bucket.keys()
    signature, piece = (
        next(key for key in keys if key.endswith(f"{taken}/{name}")) for name in ("manifest.json.sig", "rest.0")
    )
    body = body_of(bucket, piece)
    client.put_object(Bucket=bucket.name, Key=piece, Body=b"planted")
    planted = next_second()
    client.delete_objects(Bucket=bucket.name, Delete={"Objects": [{"Key": key} for key in keys]})
    after = next_second()
    assert repository.crew("backups", "list", "staging").code == 78, "the mark of the store is gone, too"

    def at(command: str, time: str, *options: str) -> list[str]:
        return ["backups", command, "staging", *options, "--store-as-of", time]

    the_set_can_be_listed_restored_and_verified(repository, origin, taken, ["--store-as-of", before])
    undelete = at("undelete", before, "shop", "--set", taken[-4:])
    refused = repository.crew(*undelete)
    assert (refused.code, "add --yes-to staging" in refused.err) == (64, True), refused
    assert "Would bring back" in repository.crew(*undelete, "--dry-run").out
    damaged = repository.crew(*at("undelete", planted, "shop", "--set", taken, "--yes-to", "staging"))
    assert (damaged.code, f"part rest of set {taken}" in damaged.err) == (1, True), damaged
    ends = datetime.now(UTC) + timedelta(days=1)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": ends}
    in_parts = TransferConfig(multipart_threshold=1)  # which gives it another ETag
    client.upload_fileobj(BytesIO(body), bucket.name, piece, lock, Config=in_parts)
    with monkeypatch.context() as role_of_writers:
        role_of_writers.setattr(s3.S3Store, "copy_version", copy_without_results)
        failed = repository.crew(*undelete, "--yes-to", "staging")
    assert f"Reading {format_size(len(body))} to compare objects of which only the ETag changed." in failed.err
    assert f"set {taken} of shop is back, but not its results of verifications: denied; then run this" in failed.err
    done = repository.crew(*undelete, "--yes-to", "staging")
    assert f"Set {taken} of shop is back and pinned: 1 object," in done.out
    assert lock_of(bucket, piece)["Mode"] == "COMPLIANCE"
    assert lock_of(bucket, piece)["RetainUntilDate"] == lock_of(bucket, signature)["RetainUntilDate"] > ends
    assert f"crew backups unpin staging shop --set {taken}" in done.out
    assert "nothing to bring back" in repository.crew(*undelete).out
    (listed,) = repository.crew("backups", "list", "staging", "shop", "--json").json["sets"]
    assert (listed["set"], listed["state"]) == (taken, "complete")
    assert (
        repository.crew("backups", "fetch", "staging", "shop", "rest", "--to", str(repository.root / "rest")).code == 0
    )
    records = repository.crew("runs", "staging", "undelete", "--json").json["runs"]
    outcomes = sorted((record["outcome"], record["subject"]) for record in records)  # both can be of the same second
    assert outcomes == [("done", "shop"), ("failed", "shop")]
    a_repetition_locks_what_has_no_lock(repository, bucket, undelete, signature)

    for time, why in ((monday, "the store was not made for staging then"), (after, "the store was not made for")):
        assert why in repository.crew(*at("list", time)).err
    assert "in the future" in repository.crew(*at("list", "2099-01-01")).err


def the_set_can_be_listed_restored_and_verified(
    repository: Repository, origin: Database, taken: str, then: list[str]
) -> None:
    (listed,) = repository.crew("backups", "list", "staging", "shop", "--json", *then).json["sets"]
    assert (listed["set"], listed["state"]) == (taken, "complete")
    assert taken in repository.crew("backups", "show", "staging", "shop", *then).out
    restore = ["backups", "restore", "staging", "shop", "--into", f"{origin.url}_past", "--create", *then]
    password = ["--password-from", f"file:{repository.password(origin)}"]
    restored = repository.crew(*restore, *password, "--yes-to", "staging")
    assert restored.code == 0, restored
    assert Database(origin.server, f"{origin.name}_past").ask("SELECT count(*) FROM orders") == [(4000,)]
    origin.run(f'DROP DATABASE "{origin.name}_past"')
    verified = repository.crew("backups", "verify", "staging", "shop", *then)
    assert verified.code == 0, verified
    assert "so the result is not stored beside the set" in verified.out


def a_repetition_locks_what_has_no_lock(repository: Repository, bucket: Bucket, undelete: list[str], key: str) -> None:
    before = lock_of(bucket, key)["RetainUntilDate"]
    # As a run that was killed before the lock leaves it.
    bucket.client().put_object(Bucket=bucket.name, Key=key, Body=body_of(bucket, key))
    assert "of shop: 1 object without a lock." in repository.crew(*undelete, "--dry-run").out
    assert repository.crew(*undelete).code == 64, "it asks before it locks"
    assert "of shop is locked: 1 object had none." in repository.crew(*undelete, "--yes-to", "staging").out
    assert lock_of(bucket, key)["RetainUntilDate"] >= before


def copy_without_results(store: s3.S3Store, key: str, version: str, copy: Any = s3.S3Store.copy_version) -> None:
    """Copy a version as a role does that may write sets, but no results of verifications."""
    if "/verifications/" in key:
        raise Denied("denied")
    copy(store, key, version)
    if "/ended/" in key:  # the manifest follows
        there = sets_from_listing("staging", store.list("staging/backups/"), TRUST_ALL)
        assert [(each.complete, each.pinned) for each in there] == [(False, True)], "retention would remove it"


def body_of(bucket: Bucket, key: str) -> bytes:
    return bucket.client().get_object(Bucket=bucket.name, Key=key)["Body"].read()


def lock_of(bucket: Bucket, key: str) -> Any:
    return bucket.client().get_object_retention(Bucket=bucket.name, Key=key)["Retention"]


def test_an_object_that_was_copied_in_parts_is_not_lost_although_its_etag_changed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "COPIED_PART", 5 << 20)
    store, body = open_store(Settings(bucket.url, region=bucket.region, endpoint=bucket.endpoint)), bytes(9 << 20)
    with store.upload("a/piece") as upload:
        upload.write(body)
        upload.complete()
    [uploaded] = store.list("a/")
    hashes = {"a/piece.0": hashlib.sha256(body).hexdigest()}
    past = store.as_of(datetime.fromisoformat(next_second()))
    assert lost_objects(past, store, "a/") == []
    store.delete(["a/piece.0"])
    assert lost_objects(past, store, "a/") == [uploaded]
    bring_back_objects(past, [uploaded], lambda: None)
    [copied] = store.list("a/")
    assert copied.version != uploaded.version
    assert lost_objects(past, store, "a/") == []
    progress: list[tuple[int, int]] = []
    assert lost_objects(past, store, "a/", hashes, lambda *read: progress.append(read)) == []
    assert (progress[0], progress[-1]) == ((0, len(body)), (len(body), len(body)))
    store.put("a/piece.0", b"x" * len(body))
    assert lost_objects(past, store, "a/") == lost_objects(past, store, "a/", hashes) == [uploaded]
