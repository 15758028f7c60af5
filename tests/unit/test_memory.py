"""Tests write into memory if there is enough of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.parts import memory

GB = 1 << 30


@pytest.mark.parametrize(
    ("free", "available", "flags", "found"),
    [
        (9 * GB, 9 * GB, 0, True),
        (7 * GB, 9 * GB, 0, False),
        (9 * GB, 7 * GB, 0, False),
        (9 * GB, 9 * GB, os.ST_NOEXEC, False),
    ],
)
def test_there_must_be_room_and_programs_must_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, available: int, flags: int, found: bool
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable:   {available >> 10} kB\n")
    system = SimpleNamespace(f_bavail=free >> 12, f_frsize=1 << 12, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda path: system)
    assert memory.folder(tmp_path, meminfo) == (tmp_path if found else None)


def test_a_machine_without_it_uses_the_disk(tmp_path: Path) -> None:
    assert memory.folder(tmp_path / "missing") is None


def test_the_folder_of_the_user_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(memory, "folder", lambda: Path("/dev"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    memory.write_there()
    assert tempfile.gettempdir() == str(tmp_path)
    monkeypatch.delenv("TMPDIR")
    memory.write_there()
    assert os.environ["TMPDIR"] == "/dev"
