"""What every store can do: the one small interface that all state goes through."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from inventories import CrewError


class StoreError(CrewError):
    """Something about the store that a user can act on: the message names the store, the fact and the way out."""


class Missing(StoreError):
    """There is no such key."""


class Exists(StoreError):
    """The key was to be created, and somebody else had created it."""


class Changed(StoreError):
    """The key was to be replaced, and its version is no longer the one that was read."""


class OutOfReach(StoreError):
    """The store did not answer, or not in time: trying again later can help."""

    retryable = True


class Denied(StoreError):
    """The store refused: credentials, permissions, or a lock on the object. Trying again will not help."""


class NotConditional(StoreError):
    """The store ignores conditions on writes, so that two writers can both win: no locks can be had on it."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key of a listing."""

    key: str
    size: int
    modified: datetime
    version: str


@dataclass(frozen=True, slots=True)
class ListedPrefix:
    """All keys below a `/`, rolled into one line of a listing."""

    key: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object, read whole."""

    body: bytes
    version: str


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """One stored object of a stream; a long stream has several, read one after the other."""

    key: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredStream:
    """What a stream left in the store once it was completed."""

    pieces: tuple[StoredPiece, ...]
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that was begun and neither completed nor aborted."""

    key: str
    id: str
    started: datetime


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A key that the store would not delete, and why."""

    key: str
    why: str


class Upload(Protocol):
    """A stream on its way into the store as `<key>.0`, `<key>.1` …; nothing is visible at a key until complete().

    Also a context manager: left without complete(), it is aborted.
    """

    def write(self, body: bytes | memoryview) -> int: ...
    def complete(self) -> StoredStream: ...
    def abort(self) -> None: ...
    def __enter__(self) -> Upload: ...
    def __exit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """Keys are text with `/` between the levels, relative to the store's own prefix."""

    @property
    def url(self) -> str:
        """The address as the environment file has it, without secrets."""
        ...

    def get(self, key: str) -> StoredObject:
        """A small object whole; Missing if there is none."""
        ...

    def create(self, key: str, body: bytes) -> str:
        """Write a key that must not exist yet, atomically; Exists if another was first. The version is returned."""
        ...

    def replace(self, key: str, body: bytes, version: str) -> str:
        """Write a key only if it still has this version; Changed (or Missing) if not. The new version is returned."""
        ...

    def put(self, key: str, body: bytes) -> str:
        """Write a small object, whatever was there before. The version is returned."""
        ...

    def upload(self, key: str) -> Upload:
        """Stream in, of unknown length, in parts of fixed size."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Stream out the bytes [start, end), going on where it stopped when the connection breaks."""
        ...

    def list(self, prefix: str = "") -> Iterator[ListedKey]:
        """All keys that begin with the prefix, in order; SeaweedFS orders by levels, the others by bytes."""
        ...

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        """One level below the prefix, up to the next `/`: keys, and what lies deeper rolled up.

        SeaweedFS may show a folder whose keys have all just been deleted.
        """
        ...

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        """Delete many, 1,000 a request; a key that is not there counts as deleted. Failures are returned, per key."""
        ...

    def purge_versions(self, prefix: str) -> tuple[int, Sequence[NotDeleted]]:
        """Remove for good what a versioned bucket still has of deleted keys: how many versions, and which stayed."""
        ...

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """What somebody began to write and neither completed nor aborted; it may still be going on."""
        ...

    def abort_upload(self, upload: OpenUpload) -> None:
        """End somebody's open upload; one that has ended already is no error."""
        ...

    def require_conditional_writes(self) -> None:
        """NotConditional, with what to do, if the store ignores conditions on writes. Asked once per store object."""
        ...
