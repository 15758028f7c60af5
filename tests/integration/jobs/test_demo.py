"""The demo tells the whole story, and leaves nothing, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A short path of its own, where all that the demo makes would lie."""
    tmp_path.chmod(0o755)
    return tmp_path


def demo(folder: Path, *args: str) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = {**os.environ, "TMPDIR": str(folder), "PGHOST": "elsewhere.example"}
    argv = [sys.executable, "-m", "jobs.cli", "demo", *args]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def running_in(folder: Path) -> list[str]:
    everything = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in everything.splitlines() if str(folder) in line]


def test_it_loses_a_table_gets_it_back_and_leaves_nothing(folder: Path) -> None:
    out, err = (playing := demo(folder)).communicate(timeout=120)
    assert playing.returncode == 0, (out, err)
    assert "DROP TABLE orders" in out
    assert "The table is back: 50,000 orders, and not a byte of them differs." in out
    assert "is verified" in out
    assert "newest verified" in out
    assert err == ""
    assert list(folder.iterdir()) == []
    assert running_in(folder) == []


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_can_be_ended_in_the_middle(told: signal.Signals, folder: Path) -> None:
    playing = demo(folder)
    until = time.monotonic() + 60
    while not any(folder.glob("groundcrew-demo-*/inventories/demo.toml")):
        assert time.monotonic() < until
        time.sleep(0.02)
    playing.send_signal(told)
    _, err = playing.communicate(timeout=30)
    assert (playing.returncode, err) == (1, f"stopped by {told.name}\n")
    assert list(folder.iterdir()) == []
    assert running_in(folder) == []
