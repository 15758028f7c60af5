"""S3, or a server with the same API, as the store."""

from __future__ import annotations

import builtins
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError, FlexibleChecksumError

from jobs.store.interface import (
    DOCUMENT_LIMIT,
    LARGE_DOCUMENT_LIMIT,
    Changed,
    Exists,
    ListedKey,
    ListedPrefix,
    LockProof,
    Missing,
    NotConditional,
    NotDeleted,
    NoVersions,
    ObjectLock,
    ObjectVersion,
    OpenUpload,
    PastStore,
    StoredObject,
    StoreError,
    Upload,
    too_large,
)
from jobs.store.retries import RequestTimeouts, attempts, backoff
from jobs.store.s3_client import RenewedClient, new_session
from jobs.store.s3_errors import (
    BROKEN,
    LOCKED_WRITE,
    NO_LOCK,
    REFUSED,
    Location,
    code_of,
    translated,
    translated_errors,
    tries_of,
)
from jobs.store.s3_upload import (
    PART,
    PartSender,
    S3Upload,
    lock_headers,
    put_object,
    version_of,
    write_action,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import (
        CopySourceTypeDef,
        ErrorTypeDef,
        GetObjectOutputTypeDef,
        ListObjectsV2OutputTypeDef,
        ListObjectVersionsOutputTypeDef,
        ObjectLockRetentionTypeDef,
    )

READ_SIZE = 1 << 20
KEYS_PER_REQUEST = 1000
RACERS = 4
COPIED_PART = 64 << 20
"""Bytes that the store copies per request: it answers only when they are copied."""
TEST_KEY = "conditions"
LONGEST_TEST = 5
"""Seconds that a run waits for the test of conditions by another one. After that, it tests them itself."""
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class VersionOfKey(NamedTuple):
    """A version of an object in a versioned bucket, or its delete marker."""

    key: str
    id: str


class S3Store:
    """A store whose objects are below one prefix of one bucket."""

    def __init__(
        self, location: Location, prefix: str, max_parts: int, timeouts: RequestTimeouts | None = None
    ) -> None:
        self.url = location.url
        self._location = location
        self._above = f"{prefix}/" if prefix else ""
        self._timeouts = timeouts or RequestTimeouts()
        limits = self._timeouts
        with translated_errors(location, "log in"):
            session = new_session(location)
            self._small = RenewedClient(session, location, limits.tries, connect=limits.connect, read=limits.read)
            self._large = RenewedClient(session, location, limits.tries, connect=limits.send, read=limits.sent)
            self._small.get()
        self._sender = PartSender(self._large.get, self._small.get, location, max_parts, limits)
        self._honours_conditions = False
        self._testing = threading.Lock()

    @property
    def _client(self) -> S3Client:
        return self._small.get()

    def prepare(self) -> None:
        """A bucket must exist: its region, versioning and lifecycle are its owner's choice."""

    def get(self, key: str, limit: int = DOCUMENT_LIMIT, version_id: str = "") -> StoredObject:
        with translated_errors(self._location, "s3:GetObject", key):
            for last in attempts(self._timeouts.tries):
                answer = self._client.get_object(**self._at(key, version_id), ChecksumMode="ENABLED")
                try:
                    if answer["ContentLength"] > limit:
                        answer["Body"].close()
                        raise too_large(self.url, key, limit)
                    return StoredObject(answer["Body"].read(), version_of(answer["ETag"]))
                except (FlexibleChecksumError, *BROKEN):
                    if last:
                        raise
        raise AssertionError("no attempt was made")

    def create(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        if version := self._write_if({"IfNoneMatch": "*"}, key, body, lock):
            return version
        raise Exists(f"{self.url}: {key} exists already")

    def replace(self, key: str, body: bytes, version: str) -> str:
        if new := self._write_if({"IfMatch": f'"{version}"'}, key, body):
            return new
        raise Changed(f"{self.url}: {key} was changed by another writer")

    def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        with translated_errors(self._location, write_action(lock), key):
            return self._put(key, body, lock_headers(lock))

    @property
    def largest_piece(self) -> int:
        return self._sender.max_parts * PART

    def upload(self, key: str, first: int = 0, *, lock: ObjectLock | None = None) -> Upload:
        return S3Upload(self._sender, key, self._above + key, first, lock)

    def read(self, key: str, start: int = 0, end: int | None = None, version_id: str = "") -> Iterator[bytes]:
        position, version, broken = start, "", 0
        while end is None or position < end:
            answer = self._open(self._at(key, version_id), key, position, end, version)
            if answer is None:
                return
            version, end = version_of(answer["ETag"]), position + answer["ContentLength"]
            try:
                while chunk := answer["Body"].read(READ_SIZE):
                    position, broken = position + len(chunk), 0
                    yield chunk
            except BROKEN as error:
                broken += 1
                if broken == self._timeouts.tries:
                    raise translated(error, self._location, "s3:GetObject", key) from error
                time.sleep(backoff(broken))
            except FlexibleChecksumError as error:
                raise translated(error, self._location, "s3:GetObject", key) from error
            finally:
                answer["Body"].close()

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        options: dict[str, Any] = {"StartAfter": self._above + start_after} if start_after else {}
        if limit is not None:
            options["PaginationConfig"] = {"MaxItems": limit, "PageSize": min(limit, KEYS_PER_REQUEST)}
        for page in self._pages(prefix, **options):
            yield from self._listed_keys(page)

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        for page in self._pages(prefix, Delimiter="/"):
            folders = (ListedPrefix(self._below(folder["Prefix"])) for folder in page.get("CommonPrefixes", []))
            level: tuple[ListedKey | ListedPrefix, ...] = (*self._listed_keys(page), *folders)
            yield from sorted(level, key=lambda listed: listed.key.encode())

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        refused: builtins.list[NotDeleted] = []
        remaining = iter(keys)
        while batch := list(islice(remaining, KEYS_PER_REQUEST)):
            refused += self._delete_together([key for key in batch if not _NOT_IN_XML.search(key)])
            refused += self._delete_singly([key for key in batch if _NOT_IN_XML.search(key)])
        return refused

    def as_of(self, moment: datetime) -> PastStore:
        from jobs.store.as_of import StoreAsOf

        with translated_errors(self._location, "s3:GetBucketVersioning"):
            if not self._client.get_bucket_versioning(Bucket=self._location.bucket).get("Status"):
                raise NoVersions(
                    f"{self.url}: bucket {self._location.bucket} keeps no versions, so it cannot be read as it was; "
                    "enable versioning, then its past is kept from now on"
                )
        return StoreAsOf(self, moment)

    def versions(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, Sequence[ObjectVersion]]]:
        """Yield each key of a versioned bucket with all its versions and delete markers, in the order of list()."""
        begin: dict[str, Any] = {"KeyMarker": self._above + start_after} if start_after else {}
        found: dict[str, builtins.list[ObjectVersion]] = {}
        with translated_errors(self._location, "s3:ListBucketVersions", prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._location.bucket, Prefix=self._above + prefix, **begin):
                for key, version in _versions_on(page):
                    found.setdefault(key, []).append(version)
                goes_on = page.get("NextKeyMarker") if page.get("IsTruncated") else None
                for key in [key for key in found if key != goes_on]:
                    versions = found.pop(key)
                    if key != begin.get("KeyMarker"):  # some servers begin with that key, not after it
                        yield self._below(key), versions

    def copy_version(self, key: str, version_id: str) -> None:
        """Copy a version over the current one, inside the store, and in parts if it is large."""
        from boto3.s3.transfer import TransferConfig, create_transfer_manager

        bucket, full_key = self._location.bucket, self._above + key
        config = TransferConfig(
            multipart_threshold=COPIED_PART,
            multipart_chunksize=COPIED_PART,
            preferred_transfer_client="classic",  # AWS's runtime, where it is installed, cannot copy
        )
        with translated_errors(self._location, "s3:PutObject", key):
            source: CopySourceTypeDef = {"Bucket": bucket, "Key": full_key, "VersionId": version_id}
            with create_transfer_manager(self._client, config) as manager:
                manager.copy(source, bucket, full_key).result()

    def deleted_keys(self, prefix: str) -> Iterator[str]:
        with translated_errors(self._location, "s3:ListBucketVersions", prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._location.bucket, Prefix=self._above + prefix):
                yield from (self._below(each["Key"]) for each in page.get("DeleteMarkers", []) if each["IsLatest"])

    def purge_versions(
        self, prefix: str, is_wanted: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, Sequence[NotDeleted]]:
        removed, refused, markers = 0, list[NotDeleted](), dict[str, builtins.list[VersionOfKey]]()
        for versions in self._deleted_versions(prefix, markers, is_wanted):
            failed = self._purge(versions)
            removed, refused = removed + len(versions) - len(failed), [*refused, *failed]
        # Remove a delete marker only after all versions that it hides. Else a version that stays would reappear.
        for each in refused:
            markers.pop(self._above + each.key, None)
        remaining = iter([marker for of_key in markers.values() for marker in of_key])
        while batch := list(islice(remaining, KEYS_PER_REQUEST)):
            failed = self._purge(batch)
            removed, refused = removed + len(batch) - len(failed), [*refused, *failed]
        return removed, refused

    def _deleted_versions(
        self, prefix: str, markers: dict[str, builtins.list[VersionOfKey]], is_wanted: Callable[[str], bool]
    ) -> Iterator[Sequence[VersionOfKey]]:
        """Yield the versions of deleted keys by pages, and collect their delete markers."""
        last_deleted = ""
        with translated_errors(self._location, "s3:ListBucketVersions", prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._location.bucket, Prefix=self._above + prefix):
                page_markers = [each for each in page.get("DeleteMarkers", []) if is_wanted(self._below(each["Key"]))]
                deleted = {marker["Key"] for marker in page_markers if marker["IsLatest"]} | {last_deleted}
                for marker in page_markers:
                    if (key := marker["Key"]) in deleted:
                        markers.setdefault(key, []).append(VersionOfKey(key, marker["VersionId"]))
                yield [
                    VersionOfKey(version["Key"], version["VersionId"])
                    for version in page.get("Versions", [])
                    if version["Key"] in deleted
                ]
                last_deleted = max(markers, default="")  # the next page can have more of its versions

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        # rclone answers NoSuchUpload if there is no upload at all.
        with suppress(Missing), translated_errors(self._location, "s3:ListBucketMultipartUploads", prefix):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._location.bucket, Prefix=self._above + prefix):
                for upload in page.get("Uploads", []):
                    yield OpenUpload(self._below(upload["Key"]), upload["UploadId"], upload["Initiated"])

    def abort_upload(self, upload: OpenUpload) -> None:
        self._sender.abort(self._above + upload.key, upload.id)

    def object_lock(self, key: str, version_id: str = "") -> ObjectLock | None:
        with translated_errors(self._location, "s3:GetObjectRetention", key):
            return self._lock_of(self._at(key, version_id))

    def extend_lock(self, key: str, lock: ObjectLock) -> None:
        with translated_errors(self._location, LOCKED_WRITE, key):
            try:
                self._put_retention(key, lock)
            except ClientError as error:
                found = self.object_lock(key) if code_of(error) in REFUSED else None
                if found is None or (found.until < lock.until and found.mode == lock.mode):
                    raise
                if found.until < lock.until:  # else S3 refused to shorten the lock
                    self._put_retention(key, ObjectLock(lock.until, found.compliance))  # S3 refused to change the mode

    def _put_retention(self, key: str, lock: ObjectLock) -> None:
        retention: ObjectLockRetentionTypeDef = {"Mode": lock.mode, "RetainUntilDate": lock.until}
        self._client.put_object_retention(**self._at(key), Retention=retention)

    def prove_lock(self, key: str, lock: ObjectLock) -> LockProof:
        request = {**self._at(key), **lock_headers(lock)}
        with translated_errors(self._location, LOCKED_WRITE, key):
            version = self._client.put_object(**request, Body=_unique_body()).get("VersionId", "null")
        if version == "null":
            return LockProof(has_versions=False, refused=False, lifted=False)
        request = self._at(key, version)
        refused = self.object_lock(key, version) is not None and not self._deletes(request)
        lifted = refused and not lock.compliance and self._deletes({**request, "BypassGovernanceRetention": True})
        return LockProof(has_versions=True, refused=refused, lifted=lifted)

    def _deletes(self, request: dict[str, Any]) -> bool:
        with translated_errors(self._location, "s3:DeleteObjectVersion", request["Key"]):
            try:
                self._client.delete_object(**request)
            except ClientError as error:
                if code_of(error) in REFUSED:
                    return False
                raise
        return True

    def _lock_of(self, request: dict[str, Any]) -> ObjectLock | None:
        try:
            found = self._client.get_object_retention(**request)["Retention"]
        except ClientError as error:
            if code_of(error) not in NO_LOCK | {"InvalidRequest"}:
                raise
            return None
        return ObjectLock(found["RetainUntilDate"], found["Mode"] == "COMPLIANCE")

    def require_conditional_writes(self) -> None:
        alone = self._testing.acquire(timeout=LONGEST_TEST)
        try:
            if not self._honours_conditions and not self._test_conditions():
                raise NotConditional(
                    f"{self.url}: this server ignores conditions on writes, so two runs could hold the same lock; "
                    "use a server that honours If-None-Match and If-Match (Amazon S3, SeaweedFS, MinIO, Ceph)"
                )
            self._honours_conditions = True
        finally:
            if alone:
                self._testing.release()

    def _test_conditions(self) -> bool:
        """Test that an existing key cannot be created, and that only one of several writers can replace a version."""
        version = self.put(TEST_KEY, _unique_body())
        try:
            self.create(TEST_KEY, _unique_body())
        except Exists:
            with ThreadPoolExecutor(RACERS) as racers:
                return sum(racers.map(lambda _: self._wins(version), range(RACERS))) <= 1
        return False

    def _wins(self, version: str) -> bool:
        try:
            self.replace(TEST_KEY, _unique_body(), version)
        except (Changed, Missing):
            return False
        return True

    def _put(self, key: str, body: bytes, headers: Mapping[str, Any] | None = None) -> str:
        return put_object(self._client, self._timeouts.tries, self._at(key) | dict(headers or {}), body)

    def _write_if(
        self, condition: Mapping[str, str], key: str, body: bytes, lock: ObjectLock | None = None
    ) -> str | None:
        """Return the new version; None if the condition does not hold."""
        with translated_errors(self._location, write_action(lock), key):
            try:
                return self._put(key, body, {**condition, **lock_headers(lock)})
            except ClientError as error:
                if code_of(error) not in ("PreconditionFailed", "412"):
                    raise
                return self._version_if_ours(key, body) if tries_of(error) > 1 else None

    def _version_if_ours(self, key: str, body: bytes) -> str | None:
        """Return the version if an earlier attempt stored this body but its response was lost."""
        stored = self.get(key, LARGE_DOCUMENT_LIMIT)
        return stored.version if stored.body == body else None

    def _open(
        self, request: dict[str, Any], key: str, start: int, end: int | None, version: str
    ) -> GetObjectOutputTypeDef | None:
        """Request the bytes from `start` on, of one version; None if the object ends there."""
        if start or end is not None:
            request["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        else:
            request["ChecksumMode"] = "ENABLED"
        if version:
            request["IfMatch"] = f'"{version}"'
        with translated_errors(self._location, "s3:GetObject", key):
            try:
                return self._client.get_object(**request)
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    raise Changed(f"{self.url}: {key} was changed while it was read; read it again") from error
                if code_of(error) != "InvalidRange":
                    raise
                return None

    def _pages(self, prefix: str, **options: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
        with translated_errors(self._location, "s3:ListBucket", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self._location.bucket, Prefix=self._above + prefix, **options)

    def _listed_keys(self, page: ListObjectsV2OutputTypeDef) -> Iterator[ListedKey]:
        for item in page.get("Contents", []):
            yield ListedKey(self._below(item["Key"]), item["Size"], item["LastModified"], version_of(item["ETag"]))

    def _delete_together(self, keys: Sequence[str]) -> Sequence[NotDeleted]:
        if not keys:
            return []
        return self._delete_objects([{"Key": self._above + key} for key in keys], "s3:DeleteObject")

    def _purge(self, versions: Sequence[VersionOfKey]) -> Sequence[NotDeleted]:
        if not versions:
            return []
        return self._delete_objects(
            [{"Key": version.key, "VersionId": version.id} for version in versions], "s3:DeleteObjectVersion"
        )

    def _delete_objects(self, objects: Any, action: str) -> Sequence[NotDeleted]:
        with translated_errors(self._location, action):
            answer = self._client.delete_objects(
                Bucket=self._location.bucket, Delete={"Objects": objects, "Quiet": True}
            )
        requested = {each["Key"]: each.get("VersionId", "") for each in objects}
        return [
            self._not_deleted(error, error.get("VersionId") or requested.get(error.get("Key", ""), ""))
            for error in answer.get("Errors", [])
            if error.get("Code") != "NoSuchKey"
        ]

    def _not_deleted(self, error: ErrorTypeDef, version_id: str) -> NotDeleted:
        """Return why an object was not deleted. S3 answers a lock as it answers missing permissions."""
        key, lock = error.get("Key", ""), None
        version = {"VersionId": version_id} if version_id else {}
        with suppress(ClientError, *BROKEN):
            lock = self._lock_of({"Bucket": self._location.bucket, "Key": key, **version})
        if lock is not None:
            return NotDeleted(self._below(key), f"locked until {lock.until:%Y-%m-%d %H:%M} UTC", lock.until)
        return NotDeleted(self._below(key), f"{error.get('Code', '')}: {error.get('Message', '')}")

    def _delete_singly(self, keys: Sequence[str]) -> Iterator[NotDeleted]:
        """Delete keys one by one, because XML cannot hold their characters."""
        for key in keys:
            try:
                with translated_errors(self._location, "s3:DeleteObject", key):
                    self._client.delete_object(**self._at(key))
            except Missing:
                continue
            except StoreError as error:
                yield NotDeleted(key, str(error))

    def _at(self, key: str, version_id: str = "") -> dict[str, Any]:
        version = {"VersionId": version_id} if version_id else {}
        return {"Bucket": self._location.bucket, "Key": self._above + key, **version}

    def _below(self, key: str) -> str:
        return key.removeprefix(self._above)


def _versions_on(page: ListObjectVersionsOutputTypeDef) -> Iterator[tuple[str, ObjectVersion]]:
    """Yield the versions on a page of a listing, and then its delete markers."""
    for each in page.get("Versions", []):
        size, etag = each["Size"], version_of(each["ETag"])
        yield each["Key"], ObjectVersion(each["VersionId"], each["LastModified"], each["IsLatest"], False, size, etag)
    for marker in page.get("DeleteMarkers", []):
        yield (
            marker["Key"],
            ObjectVersion(marker["VersionId"], marker["LastModified"], marker["IsLatest"], deleted=True),
        )


def _unique_body() -> bytes:
    return secrets.token_hex().encode()
