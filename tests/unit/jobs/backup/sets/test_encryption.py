from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyrage
import pytest

from jobs.backup.errors import BackupError, Unreadable
from jobs.backup.sets.encryption import fits, seal, unseal
from tests.parts.needs import needs

KEY = pyrage.x25519.Identity.generate()
TO, SECRET = str(KEY.to_public()), str(KEY)
BODY = b"one line of many\n" * 100_000 + os.urandom(300_000)


def chunks(body: bytes, size: int = 100_000) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def sealed(body: bytes, *recipients: str) -> bytes:
    sink = BytesIO()
    seal(chunks(body), sink, recipients)
    return sink.getvalue()


def opened(body: bytes, identity: str | None) -> bytes:
    sink = BytesIO()
    unseal(chunks(body, 7_777), sink, identity)
    return sink.getvalue()


@pytest.mark.parametrize("body", [b"", b"x", BODY])
def test_what_was_sealed_opens_again(body: bytes) -> None:
    assert opened(sealed(body, TO), f"# created: today\n{SECRET}\n") == body
    assert opened(sealed(body), None) == body


def test_each_of_several_recipients_can_open() -> None:
    other = pyrage.x25519.Identity.generate()
    body = sealed(BODY, TO, str(other.to_public()))
    assert opened(body, SECRET) == opened(body, str(other)) == BODY


@needs("age", "zstd")
def test_the_age_and_zstd_programs_open_it_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    age = subprocess.run(["age", "-d", "-i", tmp_path / "key"], input=sealed(BODY, TO), capture_output=True, check=True)
    assert subprocess.run(["zstd", "-dc"], input=age.stdout, capture_output=True, check=True).stdout == BODY


@pytest.mark.parametrize("at", [0, 100, 5_000, -1])
def test_one_flipped_bit_is_noticed(at: int) -> None:
    for identity, body in ((SECRET, bytearray(sealed(BODY, TO))), (None, bytearray(sealed(BODY)))):
        body[at] ^= 1
        with pytest.raises(Unreadable):
            opened(bytes(body), identity)


@pytest.mark.parametrize("left", [0, 1, 60_000, -1])
def test_a_cut_stream_is_noticed(left: int) -> None:
    for identity, body in ((SECRET, sealed(BODY, TO)), (None, sealed(BODY))):
        with pytest.raises(Unreadable):
            opened(body[:left], identity)


def test_the_error_of_an_end_comes_through_as_it_was() -> None:
    def breaks() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError, match="cut"):
        seal(breaks(), BytesIO(), [TO])

    class Full:
        def write(self, body: bytes) -> int:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        seal([BODY], Full(), [TO])
    with pytest.raises(OSError, match="disk full"):
        unseal([sealed(BODY, TO)], Full(), SECRET)


def test_what_compresses_well_is_opened_in_blocks_that_fit_into_memory() -> None:
    class Counting:
        whole = biggest = 0

        def write(self, body: bytes) -> None:
            self.whole += len(body)
            self.biggest = max(self.biggest, len(body))

    sink = Counting()
    unseal([sealed(b"x" * 100_000_000, TO)], sink, SECRET)
    assert sink.whole == 100_000_000
    assert sink.biggest < 20_000_000


def test_a_sink_that_broke_is_not_tried_again() -> None:
    class Pipe:
        tries = 0

        def write(self, body: bytes) -> None:
            self.tries += 1
            raise BrokenPipeError

    pipe = Pipe()
    with pytest.raises(BrokenPipeError):
        unseal(chunks(sealed(BODY, TO)), pipe, SECRET)
    assert pipe.tries == 1


def test_keys_that_are_none_are_told() -> None:
    with pytest.raises(BackupError, match="age1nonsense is no recipient"):
        seal([b""], BytesIO(), ["age1nonsense"])
    for nothing in ("", "# only a comment\n", "AGE-SECRET-KEY-1NONSENSE"):
        with pytest.raises(BackupError, match="holds no age key"):
            opened(sealed(b"", TO), nothing)


def test_whether_a_key_fits_is_told_by_a_round_trip() -> None:
    assert fits([TO], SECRET)
    assert not fits([TO], str(pyrage.x25519.Identity.generate()))
