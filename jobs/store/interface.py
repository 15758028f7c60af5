"""The interface of every store. All state of groundcrew is read and written through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from inventories import CrewError

DOCUMENT_LIMIT = 4 << 20
"""Bytes of a lock, a record or another document of a run. They have some thousand."""

LARGE_DOCUMENT_LIMIT = 64 << 20
"""Bytes of a document that grows with a database or an environment: a manifest, a bill, the copies of all locks."""


class StoreError(CrewError):
    """An error of the store; the message names the store, the fact and the remedy."""


class Missing(StoreError):
    """The key does not exist."""


class Exists(StoreError):
    """The key cannot be created, because it exists already."""


class Changed(StoreError):
    """The key cannot be replaced, because its version has changed since it was read."""


class WrongHash(StoreError):
    """The bytes of an upload do not have the expected hash, so the upload was not completed."""

    def __init__(self, key: str, found: str) -> None:
        super().__init__(f"{key}: its sha256 is {found}, which is not the expected one")
        self.found = found


class TooLarge(StoreError):
    """An object is larger than groundcrew writes it. To read it could take all memory."""


class OutOfReach(StoreError):
    """The store did not answer in time. Trying again later can help."""

    retryable = True


class Denied(StoreError):
    """The store refused access: credentials, permissions, or a lock on the object. Trying again does not help."""


class Expired(Denied):
    """The credentials have expired. Trying again helps once somebody, or a program, has renewed them."""


class NoVersions(StoreError):
    """The store keeps no versions, so nobody can read it as it was."""


class ReadOnly(StoreError):
    """The store as it was at a moment cannot be changed."""


class NotConditional(StoreError):
    """The store ignores conditions on writes. Two writers can both succeed, so locks do not work."""


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key of a listing."""

    key: str
    size: int
    modified: datetime
    version: str


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """A version of an object in a bucket with versioning, or a delete marker, which hides the versions before it."""

    id: str
    modified: datetime
    is_current: bool
    deleted: bool = False
    size: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class ListedPrefix:
    """One folder of a listing: all keys below a `/`."""

    key: str


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A small object with its whole body."""

    body: bytes
    version: str


@dataclass(frozen=True, slots=True)
class ObjectLock:
    """Until when nobody can delete an object. A special permission lifts a lock in governance mode."""

    until: datetime
    compliance: bool = False

    @property
    def mode(self) -> Literal["COMPLIANCE", "GOVERNANCE"]:
        return "COMPLIANCE" if self.compliance else "GOVERNANCE"


def too_large(url: str, key: str, limit: int) -> TooLarge:
    """Return the error for an object that has more bytes than the limit."""
    return TooLarge(
        f"{url}: {key} is larger than {limit >> 20} MiB, so groundcrew did not write it; "
        "inspect it and move it out of the store"
    )


@dataclass(frozen=True, slots=True)
class StoredPiece:
    """One object of a stored stream. A long stream has several; read them in order."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A completed stream in the store."""

    pieces: tuple[StoredPiece, ...]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)


def require_hash(pieces: Sequence[StoredPiece], sha256: str | None) -> None:
    """Raise WrongHash unless a stream that is about to be completed is one piece with this hash, if there is one."""
    if sha256 is not None and [piece.sha256 for piece in pieces] != [sha256]:
        raise WrongHash(pieces[0].key, pieces[0].sha256)


@dataclass(frozen=True, slots=True)
class OpenUpload:
    """An upload that is neither completed nor aborted."""

    key: str
    id: str
    started: datetime


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A key that could not be deleted, and why; if object lock is the reason, until when."""

    key: str
    why: str
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LockProof:
    """What happened to an object that was written with a lock and then deleted."""

    has_versions: bool
    refused: bool
    """Whether the store refused to delete the locked version."""
    lifted: bool
    """Whether it deleted it for credentials that may lift governance."""


class Upload(Protocol):
    """An upload of a stream to the keys `<key>.0`, `<key>.1` …, which become visible when it is completed.

    It is a context manager, which aborts the upload unless complete() was called. With a hash, complete() raises
    WrongHash before anything becomes visible, unless the stream is one object with this hash.
    """

    def write(self, body: bytes | memoryview) -> int: ...
    def complete(self, sha256: str | None = None) -> StoredStream: ...
    def abort(self) -> None: ...
    def __enter__(self) -> Upload: ...
    def __exit__(self, *exc: object) -> None: ...


class Store(Protocol):
    """A store of objects. Keys are relative to the store's prefix, with `/` between their levels."""

    @property
    def url(self) -> str:
        """The URL in the environment file, without secrets."""
        ...

    def prepare(self) -> None:
        """Create the directory of a store in a directory; a bucket must exist already."""
        ...

    def get(self, key: str, limit: int = DOCUMENT_LIMIT) -> StoredObject:
        """Return a small object; Missing if there is none, TooLarge if it has more bytes than the limit."""
        ...

    def create(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        """Write a key that does not exist yet, atomically, and return its version; Exists if it exists."""
        ...

    def replace(self, key: str, body: bytes, version: str) -> str:
        """Write a key if it still has this version, and return its new version; else Changed or Missing."""
        ...

    def put(self, key: str, body: bytes, lock: ObjectLock | None = None) -> str:
        """Write a small object, whether it exists or not, and return its version."""
        ...

    @property
    def largest_piece(self) -> int | None:
        """The most bytes that one object of an upload can have; None if there is no limit."""
        ...

    def upload(self, key: str, first: int = 0, *, lock: ObjectLock | None = None) -> Upload:
        """Start to upload a stream of unknown length in parts of fixed size; `first` numbers its first piece."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes [start, end). After a broken connection, resume at the last byte read."""
        ...

    def list(self, prefix: str = "", start_after: str = "", limit: int | None = None) -> Iterator[ListedKey]:
        """Yield all keys that begin with the prefix, in order; with `start_after`, only keys later in that order.

        With a limit, yield at most as many, and ask S3 for no more: a thousand keys take 40 ms to parse.

        SeaweedFS sorts by levels, the other stores by bytes. So end `start_after` with a `/`, or name a whole key:
        SeaweedFS also skips the folder of that name.
        """
        ...

    def folders(self, prefix: str = "") -> Iterator[ListedKey | ListedPrefix]:
        """Yield one level below the prefix, up to the next `/`: its keys and its folders.

        SeaweedFS can list a folder whose keys have just been deleted.
        """
        ...

    def delete(self, keys: Iterable[str]) -> Sequence[NotDeleted]:
        """Delete keys, 1,000 per request; return those that could not be deleted. A missing key counts as deleted."""
        ...

    def deleted_keys(self, prefix: str) -> Iterator[str]:
        """Yield the deleted keys of which a versioned bucket still has versions."""
        ...

    def purge_versions(
        self, prefix: str, is_wanted: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, Sequence[NotDeleted]]:
        """Remove all versions of the wanted deleted keys from a versioned bucket; return how many, and which failed."""
        ...

    def open_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """Yield uploads that are neither completed nor aborted, including those in progress."""
        ...

    def abort_upload(self, upload: OpenUpload) -> None:
        """Abort an open upload; no error if it has ended already."""
        ...

    def object_lock(self, key: str) -> ObjectLock | None:
        """Return the lock of an object; None if it has none."""
        ...

    def extend_lock(self, key: str, lock: ObjectLock) -> None:
        """Lock an object until a later time, or for the first time.

        A lock that ends later stays as it is. A lock whose mode the store refuses to change keeps its mode.
        """
        ...

    def prove_lock(self, key: str, lock: ObjectLock) -> LockProof:
        """Write a locked object, and try to delete its version in each way that these credentials allow."""
        ...

    def as_of(self, moment: datetime) -> PastStore:
        """Return the store as it was at a moment, read-only; raise NoVersions if it keeps no versions."""
        ...

    def require_conditional_writes(self) -> None:
        """Raise NotConditional if the store ignores conditions on writes. Tested once per store object."""
        ...


class PastStore(Store, Protocol):
    """A store as it was at a moment. Writes raise ReadOnly."""

    def bring_back(self, key: str) -> bool:
        """Make the object of that moment the current one again, not locked; return False if it still is."""
        ...
