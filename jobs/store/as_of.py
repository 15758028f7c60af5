"""A bucket with versioning as it was at a moment, read-only: what was deleted or overwritten later is there again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from jobs.store.interface import (
    DOCUMENT_LIMIT,
    ListedKey,
    ListedPrefix,
    LockProof,
    Missing,
    NotDeleted,
    ObjectLock,
    ObjectVersion,
    OpenUpload,
    ReadOnly,
    StoredObject,
    Upload,
)

if TYPE_CHECKING:
    from jobs.store.s3 import S3Store


def version_at(versions: Iterable[ObjectVersion], moment: datetime) -> ObjectVersion | None:
    """Return the version of a key that was current at a moment; None if there was none, or it was deleted."""
    newest = max(
        (each for each in versions if each.modified <= moment),
        # S3 tells times in seconds. If that does not decide, the data counts, not the delete marker.
        key=lambda each: (each.modified, each.is_current, not each.deleted),
        default=None,
    )
    return None if newest is None or newest.deleted else newest


class StoreAsOf:
    """The objects of a bucket, each in the version that was current at a moment."""

    def __init__(self, bucket: S3Store, moment: datetime) -> None:
        self._bucket, self._moment = bucket, moment
        self.url = f"{bucket.url} as of {moment:%Y-%m-%d %H:%M:%S %Z}"

    @property
    def largest_piece(self) -> int:
        return self._bucket.largest_piece

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        return self._bucket.get(key, limit, self._version(key).id)

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        yield from self._bucket.read(key, start, end, self._version(key).id)

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        return islice(self._existing(prefix, start_after), limit)

    def _existing(self, prefix: str, start_after: str) -> Iterator[ListedKey]:
        for key, versions in self._bucket.versions(prefix, start_after):
            if version := version_at(versions, self._moment):
                yield ListedKey(key, version.size, version.modified, version.version)

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        last = ""
        for entry in self.list(prefix):
            below, slash, _ = entry.key[len(prefix) :].partition("/")
            level = f"{prefix}{below}{slash}"
            if level != last:
                yield ListedPrefix(level) if slash else entry
            last = level

    def bring_back(self, key: str) -> bool:
        """Copy the version of that moment over the current one; return False if it is still the current one."""
        version = self._version(key)
        if version.is_current:
            return False
        self._bucket.copy_version(key, version.id)
        return True

    def object_lock(self, key: str) -> ObjectLock | None:
        return self._bucket.object_lock(key, self._version(key).id)

    def deleted_keys(self, prefix: str) -> Iterator[str]:
        del prefix
        return iter(())

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        del prefix
        return iter(())

    def prepare(self) -> None:
        raise self._read_only()

    def create(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        raise self._read_only(key, body, lock)

    def replace(self, key: str, body: bytes, version: str) -> str:
        raise self._read_only(key, body, version)

    def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        raise self._read_only(key, body, lock)

    def upload(self, key: str, first: int = 0, *, lock: ObjectLock | None = None) -> Upload:
        raise self._read_only(key, first, lock)

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        raise self._read_only(keys)

    def purge_versions(
        self, prefix: str, is_wanted: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, Sequence[NotDeleted]]:
        raise self._read_only(prefix, is_wanted)

    def abort_upload(self, upload: OpenUpload) -> None:
        raise self._read_only(upload)

    def extend_lock(self, key: str, lock: ObjectLock) -> None:
        raise self._read_only(key, lock)

    def prove_lock(self, key: str, lock: ObjectLock) -> LockProof:
        raise self._read_only(key, lock)

    def require_conditional_writes(self) -> None:
        raise self._read_only()

    def as_of(self, moment: datetime) -> StoreAsOf:
        return StoreAsOf(self._bucket, moment)

    def _version(self, key: str) -> ObjectVersion:
        """Return the version of a key at the moment; a listing begins with the key itself."""
        versions = next((of_key for found, of_key in self._bucket.versions(key) if found == key), ())
        version = version_at(versions, self._moment)
        if version is None:
            raise Missing(f"{self.url}: {key} does not exist")
        return version

    def _read_only(self, *_: object) -> ReadOnly:
        return ReadOnly(f"{self.url}: the past cannot be changed; omit --store-as-of to write")
