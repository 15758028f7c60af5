"""The demo runs all of its steps and leaves nothing behind, also when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.parts.patience import deadline, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The directory for temporary files of the demo."""
    tmp_path.chmod(0o755)
    return tmp_path


def start_demo(folder: Path, *args: str) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = {**os.environ, "TMPDIR": str(folder), "PGHOST": "elsewhere.example"}
    argv = [sys.executable, "-m", "jobs.cli", "demo", *args]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def running_in(folder: Path) -> list[str]:
    processes = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in processes.splitlines() if str(folder) in line]


def test_it_loses_a_table_restores_it_and_leaves_nothing_behind(folder: Path) -> None:
    program = start_demo(folder)
    out, err = program.communicate(timeout=deadline(120))
    assert program.returncode == 0, out + err
    assert "DROP TABLE orders" in out
    assert "The table is back: all 50,000 orders, byte for byte." in out
    assert "is verified" in out
    assert "newest verified" in out
    assert err == ""
    assert list(folder.iterdir()) == []
    assert running_in(folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_it_leaves_nothing_behind(number: signal.Signals, folder: Path) -> None:
    program = start_demo(folder)
    until(lambda: any(folder.glob("groundcrew-demo-*/inventories/demo.toml")), 60, saw=lambda: list(folder.rglob("*")))
    program.send_signal(number)
    out, err = program.communicate(timeout=deadline(30))
    assert program.returncode == 1, out + err
    assert err == f"stopped by {number.name}\n"
    assert list(folder.iterdir()) == []
    assert running_in(folder) == []
