"""Streams on their way to S3: parts of one size, a few of them sent while the next is filled."""

from __future__ import annotations

import base64
import hashlib
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from jobs.store.interface import Missing, StoredPiece, StoredStream, StoreError
from jobs.store.retries import RequestTimeouts, retry_on
from jobs.store.s3_errors import CONFLICT, DAMAGED, Location, code_of, translated, translated_errors, tries_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

PART = 8 << 20
SMALL = 256 << 10
"""Where a stream begins to be filled: most never need a part's whole room."""

IN_FLIGHT = 2
"""Parts on the wire for all streams of a store together; one more per stream is being filled."""

LAST_PARTS = 20
"""Seconds that aborting waits for parts on the wire; one that arrives later is swept with what dead runs left."""


def crc32(body: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def version_of(etag: str) -> str:
    """Some servers quote it in one place and not in another."""
    return etag.strip('"')


def put_whole(client: S3Client, tries: int, asked: dict[str, Any], body: bytes | bytearray) -> str:
    """One object in one request; its version."""
    # As a bytearray it goes out in one write; for bytes, botocore would wait for 100-continue first.
    asked = asked | {"Body": bytearray(body), "ChecksumCRC32": crc32(body)}
    if asked["Key"].endswith(".html"):  # else a browser would save the page, and not show it
        asked["ContentType"] = "text/html; charset=utf-8"
    return version_of(retry_on(DAMAGED | CONFLICT, lambda: client.put_object(**asked), tries)["ETag"])


class PartSender:
    """Sends the parts of all of a store's uploads, only a few at a time, from buffers that are used again."""

    def __init__(
        self, connect: Callable[[], S3Client], place: Location, max_parts: int, patience: RequestTimeouts
    ) -> None:
        self.place = place
        self.max_parts = max_parts
        self.tries = patience.tries
        self._connect = connect
        self._connected: S3Client | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(IN_FLIGHT)
        self._spare: list[bytearray] = []

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="store")

    @property
    def client(self) -> S3Client:
        with self._lock:  # making a client is not safe in two threads at once; using it is
            self._connected = self._connected or self._connect()
            return self._connected

    def buffer(self) -> bytearray:
        with self._lock:
            return self._spare.pop() if self._spare else bytearray(PART)

    def take_back(self, buffer: bytearray) -> None:
        with self._lock:
            if len(buffer) == PART and len(self._spare) < IN_FLIGHT:
                self._spare.append(buffer)

    def send(self, part: Callable[[], None]) -> Future[None]:
        """Begin to send a part, once fewer than the most are on their way."""
        self._slots.acquire()
        with self._lock:
            sent = self._threads.submit(part)
        sent.add_done_callback(lambda _: self._slots.release())
        return sent

    def abort(self, key: str, id: str) -> None:  # noqa: A002
        with suppress(Missing), translated_errors(self.place, "s3:AbortMultipartUpload", key):
            self.client.abort_multipart_upload(Bucket=self.place.bucket, Key=key, UploadId=id)


@dataclass(slots=True)
class _OpenObject:
    """One object of a stream, its parts so far, and its id until it is complete or given up."""

    key: str
    id: str
    sizes: list[int] = field(default_factory=list)
    sent: dict[int, CompletedPartTypeDef] = field(default_factory=dict)
    open: bool = True


class S3Upload:
    """A stream of unknown length: below one part a single put, and past the most parts of an object one more object."""

    def __init__(self, outbox: PartSender, key: str, full_key: str) -> None:
        self._outbox, self._key, self._full_key = outbox, key, full_key
        self._pieces: list[_OpenObject] = []
        self._sending: list[Future[None]] = []
        self._failure: Exception | None = None
        self._over = False
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._fill(bytearray(SMALL))

    def write(self, body: bytes | memoryview) -> int:
        self._sha256.update(body)
        left = memoryview(body)
        while left:
            if self._filled == len(self._buffer):
                self._make_room()
            some = left[: len(self._buffer) - self._filled]
            self._room[self._filled : self._filled + len(some)] = some
            self._filled += len(some)
            left = left[len(some) :]
        self._size += len(body)
        return len(body)

    def complete(self) -> StoredStream:
        pieces = self._completed() if self._pieces else (self._in_one(),)
        self._end()
        return StoredStream(pieces, self._size, self._sha256.hexdigest())

    def abort(self) -> None:
        if self._over:
            return
        self._failure = self._failure or StoreError(f"{self._outbox.place.url}: {self._key}: the upload was aborted")
        wait(self._sending, timeout=LAST_PARTS)
        for piece in self._pieces:
            if piece.open:
                self._outbox.abort(piece.key, piece.id)
        self._end()

    def __enter__(self) -> S3Upload:
        return self

    def __exit__(self, *exc: object) -> None:
        # What ended the stream is what counts; an upload that could not be aborted then is swept later.
        with suppress(StoreError) if exc[0] else nullcontext():
            self.abort()

    def _fill(self, buffer: bytearray) -> None:
        self._buffer = buffer
        self._room = memoryview(buffer)
        self._filled = 0

    def _make_room(self) -> None:
        if self._filled == PART:
            self._ship()
        begun = self._buffer
        self._fill(self._outbox.buffer())
        self._room[: len(begun)] = begun
        self._filled = len(begun)

    def _end(self) -> None:
        self._outbox.take_back(self._buffer)
        self._over = True

    def _ship(self) -> None:
        """Send what is filled as the next part."""
        self._raise_failure()
        piece = self._pieces[-1] if self._pieces else None
        if piece is None or len(piece.sizes) == self._outbox.max_parts:
            piece = self._begun()
        piece.sizes.append(self._filled)
        number, buffer = len(piece.sizes), self._taken()
        self._sending = [sent for sent in self._sending if not sent.done()]
        self._sending.append(self._outbox.send(lambda: self._send(piece, number, buffer)))

    def _taken(self) -> bytearray:
        """What is filled, which is not ours any more; only a last part is shorter than its room."""
        taken = self._buffer
        self._room.release()
        del taken[self._filled :]
        self._fill(bytearray())
        return taken

    def _begun(self) -> _OpenObject:
        key = f"{self._full_key}.{len(self._pieces)}"
        with self._told("s3:PutObject"):
            answer = self._outbox.client.create_multipart_upload(
                Bucket=self._outbox.place.bucket, Key=key, ChecksumAlgorithm="CRC32"
            )
        self._pieces.append(_OpenObject(key, answer["UploadId"]))
        return self._pieces[-1]

    def _send(self, piece: _OpenObject, number: int, buffer: bytearray) -> None:
        """Runs in a thread of the outbox: what fails here is told to whoever writes next."""
        try:
            if self._failure is None:
                piece.sent[number] = self._sent(piece, number, buffer)
        except Exception as error:
            self._failure = self._failure or error
        finally:
            self._outbox.take_back(buffer)

    def _sent(self, piece: _OpenObject, number: int, body: bytearray) -> CompletedPartTypeDef:
        asked: dict[str, Any] = {
            "Bucket": self._outbox.place.bucket,
            "Key": piece.key,
            "UploadId": piece.id,
            "PartNumber": number,
            "Body": body,
            "ChecksumCRC32": crc32(body),
        }
        answer = retry_on(DAMAGED, lambda: self._outbox.client.upload_part(**asked), self._outbox.tries)
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": asked["ChecksumCRC32"]}

    def _completed(self) -> tuple[StoredPiece, ...]:
        self._ship()
        wait(self._sending)
        self._raise_failure()
        return tuple(self._complete_piece(number, piece) for number, piece in enumerate(self._pieces))

    def _complete_piece(self, number: int, piece: _OpenObject) -> StoredPiece:
        parts = [piece.sent[part] for part in sorted(piece.sent)]
        with self._told("s3:PutObject"):
            try:
                self._outbox.client.complete_multipart_upload(
                    Bucket=self._outbox.place.bucket, Key=piece.key, UploadId=piece.id, MultipartUpload={"Parts": parts}
                )
            except ClientError as error:
                # A first try may have been done while its answer got lost: the size tells.
                if code_of(error) != "NoSuchUpload" or tries_of(error) == 1:
                    raise
        piece.open = False
        return self._of_right_size(number, sum(piece.sizes))

    def _in_one(self) -> StoredPiece:
        asked = {"Bucket": self._outbox.place.bucket, "Key": f"{self._full_key}.0"}
        with self._told("s3:PutObject"):
            put_whole(self._outbox.client, self._outbox.tries, asked, self._taken())
        return self._of_right_size(0, self._size)

    def _of_right_size(self, number: int, size: int) -> StoredPiece:
        with self._told("s3:GetObject"):
            found = self._outbox.client.head_object(Bucket=self._outbox.place.bucket, Key=f"{self._full_key}.{number}")
        if found["ContentLength"] != size:
            raise StoreError(
                f"{self._outbox.place.url}: {self._key}.{number} has {found['ContentLength']} bytes in the store "
                f"and not the {size} that were sent; look for another writer, or try again"
            )
        return StoredPiece(f"{self._key}.{number}", size)

    def _raise_failure(self) -> None:
        if self._failure:
            raise translated(self._failure, self._outbox.place, "s3:PutObject", self._key) from self._failure

    def _told(self, action: str) -> AbstractContextManager[None]:
        return translated_errors(self._outbox.place, action, self._key)
