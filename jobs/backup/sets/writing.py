"""Write one part of a set: compressed, encrypted and hashed on its way into the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from jobs.backup.sets.encryption import FASTEST, encrypt
from jobs.backup.sets.manifest import FIRST_BYTES, Part, PartKind, PartPiece
from jobs.store import StoredStream, Upload


class FirstHash:
    """The hash of the first stored bytes of a part, at most FIRST_BYTES."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._missing = FIRST_BYTES

    @property
    def complete(self) -> bool:
        return self._missing == 0

    def update(self, body: bytes | memoryview) -> None:
        first = memoryview(body)[: self._missing]
        self._sha256.update(first)
        self._missing -= len(first)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class PartWriter:
    """Writes the chunks of a part into an upload."""

    def __init__(self, upload: Upload, recipients: Sequence[str], *, compression: int = FASTEST) -> None:
        self._upload = upload
        self._recipients = recipients
        self._compression = compression
        self._first_hash = FirstHash()

    def write_all(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Compress, encrypt and store all chunks."""
        encrypt(chunks, self, self._recipients, level=self._compression)

    def write(self, body: bytes) -> None:
        self._first_hash.update(body)
        self._upload.write(body)

    def complete(self, name: str, kind: PartKind, dumped: int) -> Part:
        """Complete the upload. Call it after the source of the chunks ended well."""
        stored: StoredStream = self._upload.complete()
        pieces = (PartPiece(piece.key.rpartition("/")[2], piece.size, piece.sha256) for piece in stored.pieces)
        return Part(name, kind, tuple(pieces), self._first_hash.hexdigest(), dumped)
