"""The daemon as a process: it starts what is due, handles signals, and reports its state to systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import Repository
from jobs.run import Outcome, records
from jobs.run.latest import NO_RUNS, RunSummary
from jobs.run.lease import Holder, holder_to
from jobs.store import Store, make_store, open_store
from tests.parts.patience import deadline, until

FILE = """
[environment]
name = "try"
[store]
url = "file://{store}"
encrypt_to = "nobody"
sign_with = "nobody"
[databases.shop]
url = "postgresql://nobody@127.0.0.1:1/shop"
retention = "0 0 1 1 *"
"""
NEW_YEAR = datetime(datetime.now(UTC).year, 1, 1, tzinfo=UTC)
YEARS_AGO = NEW_YEAR - timedelta(days=900)


class Running:
    """A running daemon and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def events(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    file = tmp_path / "inventories" / "try.toml"
    file.parent.mkdir()
    file.with_suffix("").write_text("dev_servers = []\n")
    file.write_text(FILE.format(store=tmp_path / "store"))
    settings = Repository.find(tmp_path).read("try").store
    assert settings
    store = open_store(settings)
    make_store(store, "try")
    return store


def ran_long_ago(store: Store) -> None:
    """Write the lock of a run years ago, so that the later ticks count as missed."""
    tick = YEARS_AGO.replace(month=1, day=1)
    runs = NO_RUNS.with_run(RunSummary("r1", tick, tick, Outcome.DONE, "done", tick=tick))
    lock = Holder("r1", "here", 1, tick, 60, released=tick, runs=runs)
    store.put("try/locks/retention/shop.json", holder_to(lock))


@contextmanager
def daemon(folder: Path, *options: str, **environment: str) -> Iterator[Running]:
    log = folder / "log"
    argv = [sys.executable, "-m", "jobs.cli", "--root", str(folder), "schedule", "run", "try", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stderr=file, stdout=file, env={**os.environ, **environment})
    try:
        yield Running(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def stop(process: subprocess.Popen[bytes], number: int) -> int:
    process.send_signal(number)
    return process.wait(deadline(30))


def test_one_run_covers_the_missed_ticks_and_the_gap_is_logged(tmp_path: Path, store: Store) -> None:
    ran_long_ago(store)
    with daemon(tmp_path) as running:
        until(lambda: running.events("ended"), 30)
        (record,) = records(store, "try")
        assert record.tick == NEW_YEAR
        (missed,) = running.events("scheduled times missed; one run replaces them")
        assert (missed["job"], missed["missed"]) == ("retention", NEW_YEAR.year - YEARS_AGO.year - 1)
        assert running.events("started")[0]["command"] == "crew run retention try --only shop --scheduled"
        assert stop(running.process, signal.SIGTERM) == 0
        assert len(running.events("started")) == 1
    assert record.missed
    assert record.missed.ticks == NEW_YEAR.year - YEARS_AGO.year - 1


def test_a_changed_file_is_loaded_and_an_invalid_one_is_not(tmp_path: Path, store: Store) -> None:
    file = tmp_path / "inventories" / "try.toml"
    good = file.read_text()
    with daemon(tmp_path) as running:
        until(lambda: running.events("daemon started"), 30)
        file.write_text(good.replace("0 0 1 1 *", "every day"))
        running.process.send_signal(signal.SIGHUP)
        until(lambda: running.events("files reloaded"))
        (event,) = running.events("invalid file; previous configuration stays active")
        assert "databases.shop.retention" in str(event["faults"])
        assert running.events("files reloaded")[0]["jobs"] == 1
        file.write_text(good + 'backup = "0 0 1 1 *"\n')
        running.process.send_signal(signal.SIGHUP)
        until(lambda: len(running.events("files reloaded")) == 2)
        assert running.events("files reloaded")[1]["jobs"] == 2
        assert stop(running.process, signal.SIGTERM) == 0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], str]]]:
    """A socket that receives what the daemon sends to systemd."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        listening.settimeout(30)
        yield address, lambda: listening.recv(4096).decode()


def test_systemd_learns_that_the_daemon_is_ready_alive_and_stopping(
    tmp_path: Path, store: Store, manager: tuple[Path, Callable[[], str]]
) -> None:
    address, receive = manager
    with daemon(tmp_path, NOTIFY_SOCKET=str(address)) as running:
        ready, status = receive().splitlines()
        assert ready == "READY=1"
        assert status == f"STATUS=0 running; next at {NEW_YEAR.year + 1}-01-01 00:00 UTC"
        assert receive() == "WATCHDOG=1"
        running.process.send_signal(signal.SIGTERM)
        assert "STOPPING=1" in iter(receive, "")
        assert running.process.wait(deadline(30)) == 0


def slow_crew(folder: Path) -> Path:
    """Write a `crew` with the real daemon, whose runs last until SIGTERM or until a file `enough` exists."""
    program = folder / "bin" / "crew"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, signal, sys, time\n"
        f"sys.path.insert(0, {str(Path.cwd())!r})\n"
        "if 'schedule' in sys.argv:\n"
        "    from jobs.cli import main\n"
        "    main()\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(folder)!r}, 'stopped').touch(), sys.exit(1)))\n"
        f"pathlib.Path({str(folder)!r}, 'started').touch()\n"
        f"while not pathlib.Path({str(folder)!r}, 'enough').exists():\n"
        "    time.sleep(0.02)\n"
    )
    program.chmod(0o755)
    return program


@contextmanager
def daemon_with_a_slow_run(folder: Path, store: Store, *options: str) -> Iterator[Running]:
    ran_long_ago(store)
    argv = [str(slow_crew(folder)), "--root", str(folder), "schedule", "run", "try", *options]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(argv, stderr=file, stdout=file)
    try:
        until((folder / "started").exists, 30)
        yield Running(process, log)
    finally:
        (folder / "enough").touch()
        if process.poll() is None:
            process.kill()
        process.wait()


def test_on_sigterm_it_waits_for_running_jobs(tmp_path: Path, store: Store) -> None:
    with daemon_with_a_slow_run(tmp_path, store) as running:
        running.process.send_signal(signal.SIGTERM)
        until(lambda: running.events("stopping"))
        assert running.process.poll() is None
        (tmp_path / "enough").touch()
        assert running.process.wait(deadline(30)) == 0
    assert not (tmp_path / "stopped").exists()


@pytest.mark.parametrize("again", [False, True])
def test_a_job_that_exceeds_the_grace_time_is_stopped(tmp_path: Path, store: Store, *, again: bool) -> None:
    with daemon_with_a_slow_run(tmp_path, store, "--grace", "600" if again else "1") as running:
        running.process.send_signal(signal.SIGTERM)
        if again:
            until(lambda: running.events("stopping"))
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(deadline(30)) == 0
    assert (tmp_path / "stopped").exists()


def test_an_unknown_environment_is_refused_before_anything_starts(tmp_path: Path, store: Store) -> None:
    argv = [sys.executable, "-m", "jobs.cli", "--root", str(tmp_path), "schedule", "run", "nowhere"]
    refused = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert refused.returncode == 78
    assert "environment nowhere does not exist" in refused.stderr
