"""Uploads streams to S3 in parts of one size. A few parts are sent while the next one is filled.

boto3's upload_fileobj() (s3transfer) does not do this job. It reads from a file object, while our callers write. It
keeps up to ten parts per upload in memory. An upload of unknown length fails after the 10,000th part. Here all uploads
of a store share a few buffers, and an upload that reaches the part limit continues in the next object.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from jobs.store.interface import Missing, ObjectLock, StoredPiece, StoredStream, StoreError, require_hash
from jobs.store.retries import RequestTimeouts, retry_on
from jobs.store.s3_errors import (
    CONFLICT,
    DAMAGED,
    LOCKED_WRITE,
    Location,
    code_of,
    translated,
    translated_errors,
    tries_of,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART = 8 << 20
SMALL = 256 << 10
"""Size of a stream's first buffer: most streams are smaller than a part."""

IN_FLIGHT = 2
"""Parts that are sent at once for all streams of a store. Each stream fills one more."""

ABORT_TIMEOUT = 20
"""Seconds that abort() waits for parts that are being sent. Retention removes a part that arrives later."""


def crc32(body: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def version_of(etag: str) -> str:
    """Return an ETag without quotes, because some servers quote it only sometimes."""
    return etag.strip('"')


def proves(version: str, body: bytes | memoryview) -> bool:
    """Whether the version that a store returned is the MD5 of this body, so that no other body was stored."""
    return len(body) <= SMALL and version == hashlib.md5(body, usedforsecurity=False).hexdigest()


def write_action(lock: ObjectLock | None) -> str:
    """Return the permissions that a write needs, as errors name them."""
    return LOCKED_WRITE if lock else "s3:PutObject"


def lock_headers(lock: ObjectLock | None) -> dict[str, Any]:
    """Return what a request must say to lock the object that it writes. S3 wants the checksum's name, too."""
    if lock is None:
        return {}
    return {"ObjectLockMode": lock.mode, "ObjectLockRetainUntilDate": lock.until, "ChecksumAlgorithm": "CRC32"}


def put_object(client: S3Client, tries: int, request: dict[str, Any], body: bytes | memoryview) -> str:
    """Write an object in one request, and return its version."""
    # A bytearray is sent in one write; for bytes, botocore waits for 100-continue first.
    request = request | {"Body": bytearray(body), "ChecksumCRC32": crc32(body)}
    if request["Key"].endswith(".html"):  # otherwise a browser saves the page instead of showing it
        request["ContentType"] = "text/html; charset=utf-8"
    return version_of(retry_on(DAMAGED | CONFLICT, lambda: client.put_object(**request), tries)["ETag"])


class PartSender:
    """Sends the parts of all uploads of a store, a few at a time, and reuses their buffers.

    A buffer never changes its size: the traceback of a failed request can hold a view of it, and Python refuses to
    resize a bytearray that has a view.
    """

    def __init__(
        self,
        get_client: Callable[[], S3Client],
        get_small_client: Callable[[], S3Client],
        location: Location,
        max_parts: int,
        timeouts: RequestTimeouts,
    ) -> None:
        self.location = location
        self.max_parts = max_parts
        self.tries = timeouts.tries
        self._get_client, self._get_small_client = get_client, get_small_client
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(IN_FLIGHT)
        self._spare: list[bytearray] = []

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="store")

    @property
    def client(self) -> S3Client:
        return self._get_client()

    @property
    def small_client(self) -> S3Client:
        """The client for small bodies. Most sets need no other one, and no other connection."""
        return self._get_small_client()

    def buffer(self) -> bytearray:
        with self._lock:
            return self._spare.pop() if self._spare else bytearray(PART)

    def take_back(self, buffer: bytearray) -> None:
        with self._lock:
            if len(buffer) == PART and len(self._spare) < IN_FLIGHT:
                self._spare.append(buffer)

    def send(self, part: Callable[[], None]) -> Future[None]:
        """Send a part in a thread, as soon as fewer than IN_FLIGHT parts are being sent."""
        self._slots.acquire()
        with self._lock:
            sent = self._threads.submit(part)
        sent.add_done_callback(lambda _: self._slots.release())
        return sent

    def abort(self, key: str, id: str) -> None:  # noqa: A002
        with suppress(Missing), translated_errors(self.location, "s3:AbortMultipartUpload", key):
            self.client.abort_multipart_upload(Bucket=self.location.bucket, Key=key, UploadId=id)


class PartBody:
    """A file object for the body of a request, without a copy.

    Of a file, each block has the time limit to itself. Of bytes, the limit is for all of them, so it has to be long.
    """

    def __init__(self, body: bytearray) -> None:
        self._view = memoryview(body)
        self._position = 0

    def __len__(self) -> int:
        return len(self._view)

    def read(self, size: int = -1) -> memoryview:
        end = len(self._view) if size < 0 else self._position + size
        block = self._view[self._position : end]
        self._position += len(block)
        return block

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: len(self._view)}[whence]
        self._position = base + offset
        return self._position


@dataclass(slots=True)
class _OpenObject:
    """One object of a stream with the parts so far, until it is completed or aborted."""

    key: str
    id: str
    sizes: list[int] = field(default_factory=list)
    sent: dict[int, CompletedPartTypeDef] = field(default_factory=dict)
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)
    open: bool = True


class S3Upload:
    """An upload of unknown length. Less than one part is a single put; after max_parts parts a next object starts."""

    def __init__(
        self, sender: PartSender, key: str, full_key: str, first: int = 0, lock: ObjectLock | None = None
    ) -> None:
        self._sender, self._key, self._full_key, self._first, self._lock = sender, key, full_key, first, lock
        self._bucket = sender.location.bucket
        self._pieces: list[_OpenObject] = []
        self._sending: list[Future[None]] = []
        self._failure: Exception | None = None
        self._ended = False
        self._use_buffer(bytearray(SMALL))

    def write(self, body: bytes | memoryview) -> int:
        if self._ended:  # its buffer can belong to another upload by now
            raise StoreError(f"{self._sender.location.url}: {self._key}: the upload has ended; start a new one")
        remaining = memoryview(body)
        while remaining:
            if self._filled == len(self._buffer):
                self._replace_buffer()
            chunk = remaining[: len(self._buffer) - self._filled]
            self._view[self._filled : self._filled + len(chunk)] = chunk
            self._filled += len(chunk)
            remaining = remaining[len(chunk) :]
        return len(body)

    def complete(self, sha256: str | None = None) -> StoredStream:
        pieces = self._complete_all(sha256) if self._pieces else (self._put_single(sha256),)
        self._end()
        return StoredStream(pieces)

    def abort(self) -> None:
        if self._ended:
            return
        self._failure = self._failure or StoreError(f"{self._sender.location.url}: {self._key}: the upload was aborted")
        try:
            wait(self._sending, timeout=ABORT_TIMEOUT)
            for piece in self._pieces:
                if piece.open:
                    self._sender.abort(piece.key, piece.id)
        finally:
            self._end()

    def __enter__(self) -> S3Upload:
        return self

    def __exit__(self, *exc: object) -> None:
        # The first error counts. If the upload cannot be aborted after it, retention removes it later.
        with suppress(StoreError) if exc[0] else nullcontext():
            self.abort()

    def _use_buffer(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._filled = 0

    def _replace_buffer(self) -> None:
        if self._filled == PART:
            self._send_part()
        small = self._buffer
        self._use_buffer(self._sender.buffer())
        self._view[: len(small)] = small
        self._filled = len(small)

    def _end(self) -> None:
        self._ended = True
        self._release_buffer()

    def _release_buffer(self) -> None:
        """Give the buffer back for other uploads, and keep no reference to it."""
        released = self._buffer
        self._use_buffer(bytearray())
        self._sender.take_back(released)

    def _send_part(self) -> None:
        """Send the buffer as the next part."""
        self._raise_failure()
        piece = self._pieces[-1] if self._pieces else None
        if piece is None or len(piece.sizes) == self._sender.max_parts:
            piece = self._new_object()
        piece.sizes.append(self._filled)
        piece.sha256.update(self._view[: self._filled])
        number, buffer = len(piece.sizes), self._take_buffer()
        self._sending = [sent for sent in self._sending if not sent.done()]
        self._sending.append(self._sender.send(lambda: self._send(piece, number, buffer)))

    def _take_buffer(self) -> bytearray:
        """Hand the buffer over; if it is not full, hand over a copy of what is filled, as for a last part."""
        if self._filled == len(self._buffer):
            taken = self._buffer
            self._use_buffer(bytearray())
        else:
            taken = bytearray(self._view[: self._filled])
            self._release_buffer()
        return taken

    def _new_object(self) -> _OpenObject:
        key = f"{self._full_key}.{self._first + len(self._pieces)}"
        request = {"Bucket": self._bucket, "Key": key, "ChecksumAlgorithm": "CRC32", **lock_headers(self._lock)}
        with self._translated_errors(write_action(self._lock)):
            answer = self._sender.client.create_multipart_upload(**request)
        self._pieces.append(_OpenObject(key, answer["UploadId"]))
        return self._pieces[-1]

    def _send(self, piece: _OpenObject, number: int, buffer: bytearray) -> None:
        """Send a part in a thread. The next write() or complete() raises its error."""
        try:
            if self._failure is None:
                piece.sent[number] = self._upload_part(piece, number, buffer)
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._sender.take_back(buffer)

    def _upload_part(self, piece: _OpenObject, number: int, body: bytearray) -> CompletedPartTypeDef:
        request: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": piece.key,
            "UploadId": piece.id,
            "PartNumber": number,
            "Body": PartBody(body),
            "ChecksumCRC32": crc32(body),
        }
        answer = retry_on(DAMAGED, lambda: self._sender.client.upload_part(**request), self._sender.tries)
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": request["ChecksumCRC32"]}

    def _complete_all(self, sha256: str | None) -> tuple[StoredPiece, ...]:
        self._send_part()
        wait(self._sending)
        self._raise_failure()
        stored = tuple(
            StoredPiece(f"{self._key}.{number}", sum(piece.sizes), piece.sha256.hexdigest())
            for number, piece in enumerate(self._pieces, self._first)
        )
        require_hash(stored, sha256)
        for opened, piece in zip(self._pieces, stored, strict=True):
            self._complete_piece(opened, piece)
        return stored

    def _complete_piece(self, piece: _OpenObject, stored: StoredPiece) -> None:
        parts = [piece.sent[part] for part in sorted(piece.sent)]
        with self._translated_errors("s3:PutObject"):
            try:
                self._sender.client.complete_multipart_upload(
                    Bucket=self._bucket,
                    Key=piece.key,
                    UploadId=piece.id,
                    MultipartUpload={"Parts": parts},
                )
            except ClientError as error:
                # A first try can have succeeded although its answer was lost: compare the size.
                if code_of(error) != "NoSuchUpload" or tries_of(error) == 1:
                    raise
        piece.open = False
        self._check(stored)

    def _put_single(self, sha256: str | None) -> StoredPiece:
        body = self._view[: self._filled]
        piece = StoredPiece(f"{self._key}.{self._first}", self._filled, hashlib.sha256(body).hexdigest())
        require_hash([piece], sha256)
        request = {"Bucket": self._bucket, "Key": f"{self._full_key}.{self._first}", **lock_headers(self._lock)}
        with self._translated_errors(write_action(self._lock)):
            client = self._sender.small_client if len(body) <= SMALL else self._sender.client
            version = put_object(client, self._sender.tries, request, body)
        if not proves(version, body):
            self._check(piece)
        return piece

    def _check(self, piece: StoredPiece) -> None:
        """Raise if the store holds another number of bytes."""
        key = self._full_key.removesuffix(self._key) + piece.key
        with self._translated_errors("s3:GetObject"):
            stored = self._sender.small_client.head_object(Bucket=self._bucket, Key=key)
        if stored["ContentLength"] != piece.size:
            raise StoreError(
                f"{self._sender.location.url}: {piece.key} has {stored['ContentLength']} bytes in the store, "
                f"but {piece.size} were sent; check whether another process writes to this store, and try again"
            )

    def _raise_failure(self) -> None:
        if self._failure:
            raise translated(self._failure, self._sender.location, "s3:PutObject", self._key) from self._failure

    def _translated_errors(self, action: str) -> AbstractContextManager[None]:
        return translated_errors(self._sender.location, action, self._key)
