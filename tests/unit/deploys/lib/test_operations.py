"""The commands of operations, and what they print when they fail."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyinfra.api import State

from deploys.lib import operations
from deploys.lib.facts import HostFacts, PathFacts, UnitFacts
from deploys.lib.job_runner.host import crew_check_command
from deploys.lib.operations import is_outdated, stamp_file
from inventories import Secret
from tests.parts.patience import deadline

LISTS = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
ARCHIVES = "E: Could not get lock /var/cache/apt/archives/lock. It is held by process 7 (unattended-upgr)"
DPKG = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (dpkg)"


def apt(folder: Path, error: str, failures: int) -> subprocess.CompletedProcess[str]:
    """Run the command with an apt that fails `failures` times before it succeeds."""
    (folder / "apt").write_text(
        f"#!/bin/sh\necho x >> {folder}/tried\n"
        f"[ $(wc -l < {folder}/tried) -le {failures} ] || exec echo done\necho '{error}' >&2; exit 100\n"
    )
    (folder / "sleep").write_text(f"#!/bin/sh\necho $1 >> {folder}/slept\n")
    for program in ("apt", "sleep"):
        (folder / program).chmod(0o755)
    command = ["sh", "-c", operations.wait_for_apt_lock("apt update")]
    return subprocess.run(
        command,
        env={"PATH": f"{folder}:/usr/bin:/bin"},
        check=False,
        capture_output=True,
        text=True,
        timeout=deadline(30),
    )


@pytest.mark.parametrize("error", [LISTS, ARCHIVES])
def test_apt_is_tried_again_while_another_apt_holds_its_lock(tmp_path: Path, error: str) -> None:
    done = apt(tmp_path, error, failures=3)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert (tmp_path / "tried").read_text() == "x\n" * 4
    assert (tmp_path / "slept").read_text() == "2\n" * 3


def test_the_wait_for_another_apt_ends_after_five_minutes(tmp_path: Path) -> None:
    done = apt(tmp_path, LISTS, failures=1000)
    assert done.returncode == 100
    message = "apt is still locked after 300 s; find the process that holds the lock, stop it and run this again"
    assert done.stderr.splitlines() == [LISTS, message]
    assert (tmp_path / "slept").read_text() == "2\n" * 149


@pytest.mark.parametrize("error", [DPKG, "E: Unable to locate package nothing"])
def test_other_errors_of_apt_fail_at_once(tmp_path: Path, error: str) -> None:
    done = apt(tmp_path, error, failures=1)
    assert (done.returncode, done.stderr) == (100, f"{error}\n")
    assert not (tmp_path / "slept").exists()


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (operations.start_command("one.service", "start"), "--unit=one.service --output=cat --no-pager --lines=15"),
        (
            crew_check_command("try"),
            "--unit=groundcrew-try-check.service --output=cat --no-pager --identifier=crew --since=now",
        ),
    ],
)
def test_a_journal_is_printed_although_journald_does_not_answer(tmp_path: Path, command: str, asked: str) -> None:
    for name, line in {
        "journalctl": '[ "$1" != --sync ] || exec sleep 20; echo "$*"',
        "timeout": '[ "$1" = 10 ] && shift && exec /usr/bin/timeout 0.1 "$@"',
        "systemctl": "[ $1 = reset-failed ]",
        "date": "echo now",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, check=False, capture_output=True, text=True, timeout=deadline(10)
    )
    warning = "journald does not answer, so the last lines may be missing:"
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (1, [warning, asked], "")


def test_a_failed_write_of_a_secret_prints_the_error_without_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = (False, ["cat: write error: No space left on device", "s3cret-s3cret"])
    monkeypatch.setattr(operations, "run_silently", lambda *_: failure)
    logged = list[str]()
    host: Any = SimpleNamespace(log=logged.append)
    write = operations._write_silently  # the function that write_secret_file passes to pyinfra
    assert write(cast("State", None), host, "cat", Secret(literal="s3cret-s3cret\n")) is False
    assert logged == ["cat: write error: No space left on device\n***"]


def path_facts(modified: int) -> PathFacts:
    return PathFacts(is_file=True, is_folder=False, mode="644", owner="root:root", modified=modified)


@pytest.mark.parametrize(
    ("started", "stamped", "modified", "expected"),
    [(5, 0, 4, False), (5, 0, 6, True), (5, 7, 6, False), (0, 0, 1, True), (5, 7, None, False)],
)
def test_a_unit_is_outdated_if_a_file_is_newer_than_its_start_and_its_stamp(
    started: int, stamped: int, modified: int | None, expected: bool
) -> None:
    paths = {stamp_file("a.service"): path_facts(stamped)} if stamped else {}
    paths |= {"/etc/a": path_facts(modified)} if modified is not None else {}
    facts = HostFacts(paths=paths, units={"a.service": UnitFacts("enabled", True, False, started)})
    assert is_outdated(facts, "a.service", ["/etc/a"]) is expected
