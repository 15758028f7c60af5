"""Compress a stream with zstd and encrypt it with age, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from jobs.backup.errors import BackupError, UnreadableSet, WrongKey

if TYPE_CHECKING:
    import pyrage

FASTEST = 1
# Powers of two. At this size, zstd's window and hash table fit into a core's own cache, which is 20% faster.
_WINDOW_LOG, _HASH_LOG = 17, 13
# Higher levels use the tables that zstd chooses for inputs of this size: at most 5 MiB for each stream.
_TABLES_FOR = 256 << 10
_INPUT_STEP = 512
_OUTPUT_BLOCK = 256 << 10


class Sink(Protocol):
    """A destination of bytes: an upload, a file, a program's stdin."""

    def write(self, body: bytes, /) -> object: ...


def encrypt(
    chunks: Iterable[bytes | memoryview], sink: Sink, recipients: Sequence[str], *, level: int = FASTEST
) -> None:
    """Compress and encrypt a stream; without recipients, only compress it."""
    blocks = _compressed(chunks, level)
    if not recipients:
        _copy(blocks, sink)
        return
    import pyrage

    keys = [_recipient(text) for text in recipients]
    ends = _StreamEnds(blocks, sink)
    try:
        pyrage.encrypt_io(ends, ends, keys)
    except Exception as error:
        raise ends.error or error from None


def decrypt(chunks: Iterable[bytes], sink: Sink, identity: str | None) -> None:
    """Decrypt and decompress a stream; without an identity, only decompress it."""
    decompressed = _DecompressingSink(sink)
    if identity is None:
        _copy(chunks, decompressed)
    else:
        _decrypt(_StreamEnds(iter(chunks), decompressed), identity)
    decompressed.finish()


def _decrypt(ends: _StreamEnds, identity: str) -> None:
    import pyrage

    keys = _identities(identity)
    try:
        pyrage.decrypt_io(ends, ends, keys)
    except Exception as error:
        raise ends.error or _decryption_error(str(error)) from None


def _decryption_error(message: str) -> UnreadableSet:
    if "No matching keys" in message:
        return WrongKey("the key in decrypt_with cannot decrypt it")
    return UnreadableSet(f"the encrypted stream is damaged or cut off ({message})")


def can_decrypt(recipients: Sequence[str], identity: str) -> bool:
    """Whether the identity can decrypt what is encrypted to the recipients, tested by a round trip."""
    encrypted, decrypted = bytearray(), bytearray()
    encrypt([b"test"], _BytesSink(encrypted), recipients)
    try:
        decrypt([bytes(encrypted)], _BytesSink(decrypted), identity)
    except UnreadableSet:
        return False
    return bytes(decrypted) == b"test"


def new_key_pair() -> tuple[str, str]:
    """Return a new age key pair: the text of its key file, as age-keygen writes it, and the public key."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    return f"# public key: {public}\n{identity}\n", public


def _recipient(text: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    import pyrage

    try:
        return (pyrage.ssh if text.startswith("ssh-") else pyrage.x25519).Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise BackupError(
            f"encrypt_to: {text} is not an age recipient ({error}); age-keygen -y prints yours (age1…)"
        ) from None


def _identities(text: str) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    """Parse a key file: one SSH key, or age keys as age-keygen writes them, one per line with comments."""
    import pyrage

    try:
        if text.lstrip().startswith("-----BEGIN"):
            return [pyrage.ssh.Identity.from_buffer(text.strip().encode() + b"\n")]
        lines = (line.strip() for line in text.splitlines())
        identities = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError:
        identities = []
    if not identities:
        raise BackupError("decrypt_with contains no age key; age-keygen creates one (AGE-SECRET-KEY-1…)")
    return identities


def _compressed(chunks: Iterable[bytes | memoryview], level: int) -> Iterator[bytes]:
    import zstandard

    tables = {"window_log": _WINDOW_LOG, "hash_log": _HASH_LOG} if level == FASTEST else {"source_size": _TABLES_FOR}
    parameters = zstandard.ZstdCompressionParameters.from_level(level, **tables, write_checksum=True)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    for chunk in chunks:
        if block := stream.compress(chunk):
            yield block
    yield stream.flush()


class _DecompressingSink:
    """A sink that decompresses into another one, and checks that the stream is complete."""

    def __init__(self, sink: Sink) -> None:
        import zstandard

        self._stream = zstandard.ZstdDecompressor().decompressobj()
        self._zstd_error = zstandard.ZstdError
        self._sink = sink
        self._blocks: list[bytes] = []
        self._size = 0

    def write(self, body: bytes) -> None:
        """Decompress in small steps: a few bytes can expand to many megabytes."""
        view = memoryview(body)
        for start in range(0, len(view), _INPUT_STEP):
            self._decompress(view[start : start + _INPUT_STEP])

    def _decompress(self, body: memoryview) -> None:
        if self._stream.eof and body:
            raise UnreadableSet("the compressed stream has more bytes after its end")
        try:
            block = self._stream.decompress(body)
        except self._zstd_error as error:
            raise UnreadableSet(f"the compressed stream is damaged ({error})") from None
        self._blocks.append(block)
        self._size += len(block)
        if self._size >= _OUTPUT_BLOCK:
            self._flush()

    def _flush(self) -> None:
        blocks, self._blocks, self._size = self._blocks, [], 0
        self._sink.write(b"".join(blocks))

    def finish(self) -> None:
        if not self._stream.eof:
            raise UnreadableSet("the compressed stream is cut off: its end is missing")
        if self._size:
            self._flush()


class _StreamEnds:
    """A file object for pyrage, for reading the source and writing to the sink. It keeps errors, which pyrage hides."""

    def __init__(self, blocks: Iterator[bytes], sink: Sink) -> None:
        self._blocks = blocks
        self._sink = sink
        self._unread = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._unread:
                self._unread = memoryview(next(self._blocks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.error = error
            raise
        taken, self._unread = self._unread[:size], self._unread[size:]
        return bytes(taken)

    def write(self, body: bytes) -> int:
        if self.error is not None:  # age repeats a failed write
            raise self.error
        try:
            self._sink.write(body)
        except BaseException as error:
            self.error = error
            raise
        return len(body)

    def flush(self) -> None:
        """Nothing is buffered here."""


class _BytesSink:
    """A sink that appends to a bytearray."""

    def __init__(self, body: bytearray) -> None:
        self._body = body

    def write(self, body: bytes) -> None:
        self._body += body


def _copy(blocks: Iterable[bytes], sink: Sink) -> None:
    for block in blocks:
        sink.write(block)
