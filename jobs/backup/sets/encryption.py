"""How a stream is stored: compressed with zstd, then encrypted with age; and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from jobs.backup.errors import BackupError, Unreadable, WrongKey

if TYPE_CHECKING:
    import pyrage

_LEVEL = 1
_WINDOW, _TABLE = 17, 13  # powers of two: what is looked at fits into a core's own cache, which is a fifth faster
_STEP = 512
_BLOCK = 256 << 10


class Sink(Protocol):
    """Where bytes go: an upload, a file, a program's stdin."""

    def write(self, body: bytes, /) -> object: ...


def seal(chunks: Iterable[bytes | memoryview], sink: Sink, recipients: Sequence[str]) -> None:
    """Compress and encrypt a stream; with no recipients it is only compressed."""
    blocks = _compressed(chunks)
    if not recipients:
        _pour(blocks, sink)
        return
    import pyrage

    keys = [_recipient(text) for text in recipients]
    ends = _Ends(blocks, sink)
    try:
        pyrage.encrypt_io(ends, ends, keys)
    except Exception as error:
        raise ends.error or error from None


def unseal(chunks: Iterable[bytes], sink: Sink, identity: str | None) -> None:
    """Decrypt and decompress a stream; with no identity it is taken for one that was only compressed."""
    opened = _Decompressed(sink)
    if identity is None:
        _pour(chunks, opened)
    else:
        _decrypt(_Ends(iter(chunks), opened), identity)
    opened.finish()


def _decrypt(ends: _Ends, identity: str) -> None:
    import pyrage

    keys = _identities(identity)
    try:
        pyrage.decrypt_io(ends, ends, keys)
    except Exception as error:
        raise ends.error or _why_closed(str(error)) from None


def _why_closed(said: str) -> Unreadable:
    if "No matching keys" in said:
        return WrongKey("the decrypting key does not fit")
    return Unreadable(f"the encrypted stream is damaged or cut ({said})")


def fits(recipients: Sequence[str], identity: str) -> bool:
    """Whether what is sealed to the recipients can be opened with the identity: a round trip tells."""
    sealed, opened = bytearray(), bytearray()
    seal([b"fits"], _Into(sealed), recipients)
    try:
        unseal([bytes(sealed)], _Into(opened), identity)
    except Unreadable:
        return False
    return bytes(opened) == b"fits"


def _recipient(text: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    import pyrage

    try:
        return (pyrage.ssh if text.startswith("ssh-") else pyrage.x25519).Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise BackupError(f"encrypt_to: {text} is no recipient ({error}); age-keygen -y prints one (age1…)") from None


def _identities(text: str) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    """The keys of a file as age-keygen writes it: a line each, comments between; or one SSH key."""
    import pyrage

    try:
        if text.lstrip().startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.strip().encode() + b"\n")]
        lines = (line.strip() for line in text.splitlines())
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        found = []
    if not found:
        raise BackupError("decrypt_with holds no age key; age-keygen makes one (AGE-SECRET-KEY-1…)")
    return found


def _compressed(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    import zstandard

    manner = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL, window_log=_WINDOW, hash_log=_TABLE, write_checksum=True
    )
    stream = zstandard.ZstdCompressor(compression_params=manner).compressobj()
    for chunk in chunks:
        if block := stream.compress(chunk):
            yield block
    yield stream.flush()


class _Decompressed:
    """A sink that decompresses on the way to another one, and knows whether the stream came to its end."""

    def __init__(self, sink: Sink) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._broken = zstandard.ZstdError
        self._sink = sink
        self._held: list[bytes] = []
        self._size = 0

    def write(self, body: bytes) -> None:
        """By small steps: a few bytes of what compresses well are many megabytes of it."""
        whole = memoryview(body)
        for at in range(0, len(whole), _STEP):
            self._decompress(whole[at : at + _STEP])

    def _decompress(self, body: memoryview) -> None:
        if self._stream.eof and body:
            raise Unreadable("the compressed stream goes on after its end")
        try:
            block = self._stream.decompress(body)
        except self._broken as error:
            raise Unreadable(f"the compressed stream is damaged ({error})") from None
        self._held.append(block)
        self._size += len(block)
        if self._size >= _BLOCK:
            self._pass_on()

    def _pass_on(self) -> None:
        blocks, self._held, self._size = self._held, [], 0
        self._sink.write(b"".join(blocks))

    def finish(self) -> None:
        if not self._stream.eof:
            raise Unreadable("the compressed stream is cut: its end is missing")
        if self._size:
            self._pass_on()


class _Ends:
    """Both ends of the encryption as the file it reads from and writes to; keeps the error that it would swallow."""

    def __init__(self, blocks: Iterator[bytes], sink: Sink) -> None:
        self._blocks = blocks
        self._sink = sink
        self._left = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._left:
                self._left = memoryview(next(self._blocks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        taken, self._left = self._left[:size], self._left[size:]
        return bytes(taken)

    def write(self, body: bytes) -> int:
        if self.error is not None:  # age tries what it could not write once more
            raise self.error
        try:
            self._sink.write(body)
        except BaseException as error:
            self.error = error
            raise
        return len(body)

    def flush(self) -> None:
        """Nothing is kept back."""


class _Into:
    """A sink that appends to a bytearray."""

    def __init__(self, body: bytearray) -> None:
        self._body = body

    def write(self, body: bytes) -> None:
        self._body += body


def _pour(blocks: Iterable[bytes], sink: Sink) -> None:
    for block in blocks:
        sink.write(block)
