from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jobs.backup.postgres.pipes import in_big_pieces, widen

DUMP = ["/usr/bin/pg_dump", "--format=custom"]


def test_programs_read_and_write_in_big_pieces_where_that_can_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert in_big_pieces(DUMP) == DUMP
    (tmp_path / "stdbuf").touch(mode=0o755)
    assert in_big_pieces(DUMP) == [f"{tmp_path}/stdbuf", "--input=64K", "--output=64K", *DUMP]


def test_a_pipe_holds_a_mebibyte_and_what_is_no_pipe_stays_as_it_is(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        widen(pipe)
        assert fcntl.fcntl(pipe.fileno(), 1032) == 1 << 20  # F_GETPIPE_SZ
    with (tmp_path / "file").open("wb") as file:
        widen(file)
