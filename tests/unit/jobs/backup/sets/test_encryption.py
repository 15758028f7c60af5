from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyrage
import pytest

from jobs.backup.errors import BackupError, UnreadableSet
from jobs.backup.sets.encryption import can_decrypt, decrypt, encrypt, new_key_pair
from tests.parts.needs import needs

KEY = pyrage.x25519.Identity.generate()
TO, SECRET = str(KEY.to_public()), str(KEY)
BODY = b"one line of many\n" * 100_000 + os.urandom(300_000)


def chunks(body: bytes, size: int = 100_000) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def encrypted(body: bytes, *recipients: str) -> bytes:
    sink = BytesIO()
    encrypt(chunks(body), sink, recipients)
    return sink.getvalue()


def decrypted(body: bytes, identity: str | None) -> bytes:
    sink = BytesIO()
    decrypt(chunks(body, 7_777), sink, identity)
    return sink.getvalue()


@pytest.mark.parametrize("body", [b"", b"x", BODY])
def test_an_encrypted_stream_decrypts_to_the_original(body: bytes) -> None:
    assert decrypted(encrypted(body, TO), f"# created: today\n{SECRET}\n") == body
    assert decrypted(encrypted(body), None) == body


def test_a_higher_level_of_compression_makes_texts_smaller() -> None:
    texts = b" ".join(b"order %d of customer %d" % (number, number % 97) for number in range(50_000))
    sizes = []
    for level in (1, 9):
        sink = BytesIO()
        encrypt(chunks(texts), sink, [], level=level)
        assert decrypted(sink.getvalue(), None) == texts
        sizes.append(len(sink.getvalue()))
    assert sizes[1] < 0.95 * sizes[0]


def test_each_of_several_recipients_can_decrypt() -> None:
    other = pyrage.x25519.Identity.generate()
    body = encrypted(BODY, TO, str(other.to_public()))
    assert decrypted(body, SECRET) == decrypted(body, str(other)) == BODY


@needs("age", "zstd")
def test_the_age_and_zstd_programs_can_decrypt_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    age = subprocess.run(
        ["age", "-d", "-i", tmp_path / "key"], input=encrypted(BODY, TO), capture_output=True, check=True
    )
    assert subprocess.run(["zstd", "-dc"], input=age.stdout, capture_output=True, check=True).stdout == BODY


@pytest.mark.parametrize("at", [0, 100, 5_000, -1])
def test_one_flipped_bit_is_an_error(at: int) -> None:
    for identity, body in ((SECRET, bytearray(encrypted(BODY, TO))), (None, bytearray(encrypted(BODY)))):
        body[at] ^= 1
        with pytest.raises(UnreadableSet):
            decrypted(bytes(body), identity)


@pytest.mark.parametrize("left", [0, 1, 60_000, -1])
def test_a_stream_that_is_cut_off_is_an_error(left: int) -> None:
    for identity, body in ((SECRET, encrypted(BODY, TO)), (None, encrypted(BODY))):
        with pytest.raises(UnreadableSet):
            decrypted(body[:left], identity)


def test_errors_of_the_source_and_the_sink_are_raised_unchanged() -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError, match="cut"):
        encrypt(breaks(), BytesIO(), [TO])

    class Full:
        def write(self, body: bytes) -> int:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        encrypt([BODY], Full(), [TO])
    with pytest.raises(OSError, match="disk full"):
        decrypt([encrypted(BODY, TO)], Full(), SECRET)


def test_a_highly_compressed_stream_is_decrypted_in_small_blocks() -> None:
    class Counting:
        whole = biggest = 0

        def write(self, body: bytes) -> None:
            self.whole += len(body)
            self.biggest = max(self.biggest, len(body))

    sink = Counting()
    decrypt([encrypted(b"x" * 100_000_000, TO)], sink, SECRET)
    assert sink.whole == 100_000_000
    assert sink.biggest < 20_000_000


def test_a_failed_sink_is_not_written_to_again() -> None:
    class Pipe:
        tries = 0

        def write(self, body: bytes) -> None:
            self.tries += 1
            raise BrokenPipeError

    pipe = Pipe()
    with pytest.raises(BrokenPipeError):
        decrypt(chunks(encrypted(BODY, TO)), pipe, SECRET)
    assert pipe.tries == 1


def test_malformed_keys_are_errors() -> None:
    with pytest.raises(BackupError, match="age1nonsense is not an age recipient"):
        encrypt([b""], BytesIO(), ["age1nonsense"])
    for nothing in ("", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE"):
        with pytest.raises(BackupError, match="contains no age key"):
            decrypted(encrypted(b"", TO), nothing)


def test_a_new_key_pair_decrypts_what_is_encrypted_to_it() -> None:
    key_file, public = new_key_pair()
    assert key_file.startswith(f"# public key: {public}\n")
    assert can_decrypt([public], key_file)


def test_a_key_can_decrypt_only_what_is_encrypted_to_it() -> None:
    assert can_decrypt([TO], SECRET)
    assert not can_decrypt([TO], str(pyrage.x25519.Identity.generate()))
