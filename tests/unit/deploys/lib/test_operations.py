"""What the pieces of deploys say to a shell, and what they tell of a failure."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyinfra.api import State

from deploys.lib import operations
from inventories import Secret

LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
ARCHIVES = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 7 (unattended-upgr)"
DPKG = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (dpkg)"


def apt(folder: Path, says: str, tries: int) -> subprocess.CompletedProcess[str]:
    """How a command ends that fails so many times, before it does well."""
    (folder / "apt").write_text(
        f"#!/bin/sh\necho x >> {folder}/tried\n"
        f"[ $(wc -l < {folder}/tried) -le {tries} ] || exec echo done\necho '{says}' >&2; exit 100\n"
    )
    (folder / "sleep").write_text(f"#!/bin/sh\necho $1 >> {folder}/slept\n")
    for program in ("apt", "sleep"):
        (folder / program).chmod(0o755)
    told = ["sh", "-c", operations.patient("apt update")]
    return subprocess.run(
        told, env={"PATH": f"{folder}:/usr/bin:/bin"}, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("says", [LISTS, ARCHIVES])
def test_another_apt_is_waited_for(tmp_path: Path, says: str) -> None:
    done = apt(tmp_path, says, tries=3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert (tmp_path / "tried").read_text() == "x\n" * 4
    assert (tmp_path / "slept").read_text() == "2\n" * 3


def test_another_apt_is_not_waited_for_without_an_end(tmp_path: Path) -> None:
    done = apt(tmp_path, LISTS, tries=1000)
    assert done.returncode == 100
    said = "that lock was not to be had for 300 s; see what has it, end that, and run this again"
    assert done.stderr.splitlines() == [LISTS, said]
    assert (tmp_path / "slept").read_text() == "2\n" * 149


@pytest.mark.parametrize("says", [DPKG, "E: Unable to locate package nothing"])
def test_what_is_not_a_matter_of_waiting_ends_it_at_once(tmp_path: Path, says: str) -> None:
    done = apt(tmp_path, says, tries=1)
    assert (done.returncode, done.stderr) == (100, f"{says}\n")
    assert not (tmp_path / "slept").exists()


def test_why_a_secret_could_not_be_written_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fails = (False, ["cat: write error: No space left on device", "s3cret-s3cret"])
    monkeypatch.setattr(operations, "quietly", lambda *_: fails)
    logged = list[str]()
    host: Any = SimpleNamespace(log=logged.append)
    write = operations._write_silently  # what secret_file hands to pyinfra
    assert write(cast("State", None), host, "cat", Secret(literal="s3cret-s3cret\n")) is False
    assert logged == ["cat: write error: No space left on device\n***"]
