from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from jobs.backup.postgres.pipes import enlarge_pipe, with_large_buffers

DUMP = ["/usr/bin/pg_dump", "--format=custom"]


def test_programs_get_large_buffers_if_stdbuf_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert with_large_buffers(DUMP) == DUMP
    (tmp_path / "stdbuf").touch(mode=0o755)
    assert with_large_buffers(DUMP) == [f"{tmp_path}/stdbuf", "--input=64K", "--output=64K", *DUMP]


def test_a_pipe_is_enlarged_to_a_mebibyte_and_a_file_is_left_alone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        enlarge_pipe(pipe)
        assert fcntl.fcntl(pipe.fileno(), 1032) == 1 << 20  # F_GETPIPE_SZ
    with (tmp_path / "file").open("wb") as file:
        enlarge_pipe(file)
