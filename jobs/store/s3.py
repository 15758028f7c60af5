"""S3, or a server that speaks it, as the store."""

from __future__ import annotations

import builtins
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, FlexibleChecksumError

from jobs.store.interface import (
    Changed,
    Exists,
    ListedKey,
    ListedPrefix,
    Missing,
    NotConditional,
    NotDeleted,
    OpenUpload,
    StoredObject,
    StoreError,
    Upload,
)
from jobs.store.retries import RequestTimeouts, attempts, backoff
from jobs.store.s3_errors import BROKEN, Location, code_of, translated, translated_errors, tries_of
from jobs.store.s3_upload import IN_FLIGHT, PartSender, S3Upload, put_whole, version_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, ListObjectsV2OutputTypeDef

READ_SIZE = 1 << 20
KEYS_PER_REQUEST = 1000
RACERS = 4
SCRATCH = "conditions"
_NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


class VersionOfKey(NamedTuple):
    """One version of an object in a versioned bucket, or a marker that it was deleted."""

    key: str
    id: str


class S3Store:
    """Objects are keys below one prefix of one bucket."""

    def __init__(self, place: Location, prefix: str, max_parts: int, patience: RequestTimeouts | None = None) -> None:
        self.url = place.url
        self._place = place
        self._above = f"{prefix}/" if prefix else ""
        self._patience = patience or RequestTimeouts()
        with translated_errors(place, "log in"):
            session = boto3.session.Session(profile_name=place.profile or None, region_name=place.region or None)
            self._client = _connected(session, place, self._patience, self._patience.connect, self._patience.read)
        self._outbox = PartSender(
            lambda: _connected(session, place, self._patience, self._patience.send, self._patience.send),
            place,
            max_parts,
            self._patience,
        )
        self._conditional = False

    def get(self, key: str) -> StoredObject:
        with translated_errors(self._place, "s3:GetObject", key):
            for last in attempts(self._patience.tries):
                answer = self._client.get_object(**self._at(key), ChecksumMode="ENABLED")
                try:
                    return StoredObject(answer["Body"].read(), version_of(answer["ETag"]))
                except (FlexibleChecksumError, *BROKEN):
                    if last:
                        raise
        raise AssertionError("no attempt was made")

    def create(self, key: str, body: bytes) -> str:
        if version := self._write_if({"IfNoneMatch": "*"}, key, body):
            return version
        raise Exists(f"{self.url}: {key} exists already")

    def replace(self, key: str, body: bytes, version: str) -> str:
        if new := self._write_if({"IfMatch": f'"{version}"'}, key, body):
            return new
        raise Changed(f"{self.url}: {key} was changed by somebody else")

    def put(self, key: str, body: bytes) -> str:
        with translated_errors(self._place, "s3:PutObject", key):
            return self._put(key, body)

    def upload(self, key: str) -> Upload:
        return S3Upload(self._outbox, key, self._above + key)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        at, version, broken = start, "", 0
        while end is None or at < end:
            answer = self._opened(key, at, end, version)
            if answer is None:
                return
            version, end = version_of(answer["ETag"]), at + answer["ContentLength"]
            try:
                while chunk := answer["Body"].read(READ_SIZE):
                    at, broken = at + len(chunk), 0
                    yield chunk
            except BROKEN as error:
                broken += 1
                if broken == self._patience.tries:
                    raise translated(error, self._place, "s3:GetObject", key) from error
                time.sleep(backoff(broken))
            except FlexibleChecksumError as error:
                raise translated(error, self._place, "s3:GetObject", key) from error
            finally:
                answer["Body"].close()

    def list(self, prefix: str = "") -> Iterator[ListedKey]:
        for page in self._pages(prefix):
            yield from self._entries(page)

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        for page in self._pages(prefix, Delimiter="/"):
            deeper = (ListedPrefix(self._below(one["Prefix"])) for one in page.get("CommonPrefixes", []))
            level: tuple[ListedKey | ListedPrefix, ...] = (*self._entries(page), *deeper)
            yield from sorted(level, key=lambda one: one.key.encode())

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        refused: builtins.list[NotDeleted] = []
        left = iter(keys)
        while some := list(islice(left, KEYS_PER_REQUEST)):
            refused += self._deleted_together([key for key in some if not _NOT_IN_XML.search(key)])
            refused += self._deleted_alone([key for key in some if _NOT_IN_XML.search(key)])
        return refused

    def purge_versions(self, prefix: str) -> tuple[int, Sequence[NotDeleted]]:
        removed, refused, markers = 0, list[NotDeleted](), dict[str, builtins.list[VersionOfKey]]()
        for version in self._versions(prefix, markers):
            stayed = self._deleted_for_good(version)
            removed, refused = removed + len(version) - len(stayed), [*refused, *stayed]
        # A marker goes after all that it hides: a part or a manifest that must stay would be seen again.
        for one in refused:
            markers.pop(self._above + one.key, None)
        left = iter([marker for those in markers.values() for marker in those])
        while some := list(islice(left, KEYS_PER_REQUEST)):
            stayed = self._deleted_for_good(some)
            removed, refused = removed + len(some) - len(stayed), [*refused, *stayed]
        return removed, refused

    def _versions(
        self, prefix: str, markers: dict[str, builtins.list[VersionOfKey]]
    ) -> Iterator[Sequence[VersionOfKey]]:
        """The versions of deleted keys, a page at a time; what marks the keys as deleted is put aside."""
        gone = ""
        with translated_errors(self._place, "s3:ListBucketVersions", prefix):
            pages = self._client.get_paginator("list_object_versions")
            for page in pages.paginate(Bucket=self._place.bucket, Prefix=self._above + prefix):
                marked = page.get("DeleteMarkers", [])
                deleted = {one["Key"] for one in marked if one["IsLatest"]} | {gone}
                for one in marked:
                    if one["Key"] in deleted:
                        markers.setdefault(one["Key"], []).append(VersionOfKey(one["Key"], one["VersionId"]))
                yield [
                    VersionOfKey(one["Key"], one["VersionId"])
                    for one in page.get("Versions", [])
                    if one["Key"] in deleted
                ]
                gone = max(markers, default="")  # its versions may go on on the next page

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        # rclone answers that there is no such upload where there is none at all.
        with suppress(Missing), translated_errors(self._place, "s3:ListBucketMultipartUploads", prefix):
            pages = self._client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._place.bucket, Prefix=self._above + prefix):
                for one in page.get("Uploads", []):
                    yield OpenUpload(self._below(one["Key"]), one["UploadId"], one["Initiated"])

    def abort_upload(self, upload: OpenUpload) -> None:
        self._outbox.abort(self._above + upload.key, upload.id)

    def require_conditional_writes(self) -> None:
        if not self._conditional and not self._keeps_conditions():
            raise NotConditional(
                f"{self.url}: this server ignores conditions on writes, so that two runs could both hold one lock; "
                "use one that honours If-None-Match and If-Match (Amazon S3, SeaweedFS, MinIO, Ceph do)"
            )
        self._conditional = True

    def _keeps_conditions(self) -> bool:
        """Whether a key that exists can't be created, and of some who replace one version at most one succeeds."""
        version = self.put(SCRATCH, _unique())
        try:
            self.create(SCRATCH, _unique())
        except Exists:
            with ThreadPoolExecutor(RACERS) as racers:
                return sum(racers.map(lambda _: self._wins(version), range(RACERS))) <= 1
        return False

    def _wins(self, version: str) -> bool:
        try:
            self.replace(SCRATCH, _unique(), version)
        except (Changed, Missing):
            return False
        return True

    def _put(self, key: str, body: bytes, condition: Mapping[str, str] | None = None) -> str:
        return put_whole(self._client, self._patience.tries, self._at(key) | dict(condition or {}), body)

    def _write_if(self, condition: Mapping[str, str], key: str, body: bytes) -> str | None:
        """The new version, or None where the condition does not hold."""
        with translated_errors(self._place, "s3:PutObject", key):
            try:
                return self._put(key, body, condition)
            except ClientError as error:
                if code_of(error) not in ("PreconditionFailed", "412"):
                    raise
                return self._written_before(key, body) if tries_of(error) > 1 else None

    def _written_before(self, key: str, body: bytes) -> str | None:
        """The version, if what stands there is our own: the first try was done, and only its answer got lost."""
        found = self.get(key)
        return found.version if found.body == body else None

    def _opened(self, key: str, at: int, end: int | None, version: str) -> GetObjectOutputTypeDef | None:
        """The bytes from `at` on, of the version that was read so far; None where there are none any more."""
        asked = self._at(key)
        if at or end is not None:
            asked["Range"] = f"bytes={at}-{'' if end is None else end - 1}"
        else:
            asked["ChecksumMode"] = "ENABLED"
        if version:
            asked["IfMatch"] = f'"{version}"'
        with translated_errors(self._place, "s3:GetObject", key):
            try:
                return self._client.get_object(**asked)
            except ClientError as error:
                if code_of(error) in ("PreconditionFailed", "412"):
                    raise Changed(f"{self.url}: {key} was changed while it was read; read it again") from error
                if code_of(error) != "InvalidRange":
                    raise
                return None

    def _pages(self, prefix: str, **asked: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
        with translated_errors(self._place, "s3:ListBucket", prefix):
            pages = self._client.get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self._place.bucket, Prefix=self._above + prefix, **asked)

    def _entries(self, page: ListObjectsV2OutputTypeDef) -> Iterator[ListedKey]:
        for one in page.get("Contents", []):
            yield ListedKey(self._below(one["Key"]), one["Size"], one["LastModified"], version_of(one["ETag"]))

    def _deleted_together(self, keys: Sequence[str]) -> Sequence[NotDeleted]:
        if not keys:
            return []
        return self._delete_objects([{"Key": self._above + key} for key in keys], "s3:DeleteObject")

    def _deleted_for_good(self, versions: Sequence[VersionOfKey]) -> Sequence[NotDeleted]:
        if not versions:
            return []
        return self._delete_objects(
            [{"Key": one.key, "VersionId": one.id} for one in versions], "s3:DeleteObjectVersion"
        )

    def _delete_objects(self, objects: Any, right: str) -> Sequence[NotDeleted]:
        with translated_errors(self._place, right):
            answer = self._client.delete_objects(Bucket=self._place.bucket, Delete={"Objects": objects, "Quiet": True})
        return [
            NotDeleted(self._below(one.get("Key", "")), f"{one.get('Code', '')}: {one.get('Message', '')}")
            for one in answer.get("Errors", [])
            if one.get("Code") != "NoSuchKey"
        ]

    def _deleted_alone(self, keys: Sequence[str]) -> Iterator[NotDeleted]:
        """Keys that a request for many can't hold, since XML can't."""
        for key in keys:
            try:
                with translated_errors(self._place, "s3:DeleteObject", key):
                    self._client.delete_object(**self._at(key))
            except Missing:
                continue
            except StoreError as error:
                yield NotDeleted(key, str(error))

    def _at(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._place.bucket, "Key": self._above + key}

    def _below(self, key: str) -> str:
        return key.removeprefix(self._above)


def _connected(
    session: boto3.session.Session, place: Location, patience: RequestTimeouts, connect: float, read: float
) -> S3Client:
    return session.client(
        "s3",
        endpoint_url=place.endpoint or None,
        config=Config(
            connect_timeout=connect,
            read_timeout=read,
            tcp_keepalive=True,
            retries={"mode": "standard", "total_max_attempts": patience.tries},
            max_pool_connections=10 + IN_FLIGHT,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # A CRC that the server checks goes with every body: hashing it once more for the signature adds nothing.
            s3={"payload_signing_enabled": False, "addressing_style": "path" if place.endpoint else "auto"},
        ),
    )


def _unique() -> bytes:
    return secrets.token_hex().encode()
