"""A set brings hostile code. A verification executes it as superuser of its scratch server, in a sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from jobs.backup.postgres.programs import installed_clients
from jobs.backup.verify.scratch import temporary_endpoint, usable_servers
from jobs.embedded import NotStarted, isolated_postgres, programs
from tests.parts import intruder
from tests.parts.crew import CrewResult, Repository
from tests.parts.intruder import Targets
from tests.parts.needs import majors, needs
from tests.parts.postgres import CLIENTS, Database


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the user that a server runs as if nothing isolates it."""
    user = "nobody" if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], user=user) as process:
        yield process
        process.kill()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that every user can write to, with a file that every user can read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "key").write_text("secret\n")
        (folder / "key").chmod(0o644)
        yield folder


def hostile_set(repository: Repository, database: Database, bystander: subprocess.Popen[bytes], folder: Path) -> None:
    """Back up a database whose function reports what it reaches."""
    server = database.server
    targets = Targets(
        file=str(folder / "key"),
        pid=bystander.pid,
        psql=tuple(str(client / "psql") for client in CLIENTS.values()),
        tcp=("127.0.0.1", server.running.port),
        socket=(str(server.running.socket), server.running.port),
        folder=str(folder),
    )
    database.run(intruder.PLANT, intruder.arm(targets))
    repository.environment(text=repository.section("shop", database))
    repository.backup()


def reached(ended: CrewResult) -> set[str]:
    """Return what the code in the set has reached."""
    match = re.search(r"reached: ([a-z ]*)\.", ended.out)
    assert match is not None, ended
    return set(match[1].split())


@needs("bwrap")
@majors(13, 18)
def test_hostile_code_reaches_nothing_outside_of_its_sandbox(
    major: int,
    repository: Repository,
    database: Callable[[int], Database],
    bystander: subprocess.Popen[bytes],
    open_folder: Path,
) -> None:
    hostile_set(repository, database(major), bystander, open_folder)
    ended = repository.crew("run", "verify", "staging")
    assert ended.code == 1, ended
    assert reached(ended) == {"user", "psql"}
    assert bystander.poll() is None
    assert [path.name for path in open_folder.iterdir()] == ["key"]


def test_without_bubblewrap_the_result_says_that_nothing_was_isolated(
    repository: Repository,
    database: Callable[[int], Database],
    bystander: subprocess.Popen[bytes],
    open_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
    harmless = database(15)
    repository.environment(text=repository.section("shop", harmless))
    repository.backup()
    ended = repository.crew("run", "verify", "staging")
    chosen = usable_servers(installed_clients("initdb"), installed_clients("pg_restore"), 15, 15)[0]
    if os.geteuid() == 0 and not all(folder.stat().st_mode & 0o001 for folder in Path(chosen.path).parents):
        assert "to whom a directory above" in ended.out, ended
        return
    assert ended.code == 0, ended
    assert "not isolated from this machine: bubblewrap is not installed" in ended.out
    assert "not isolated" in repository.crew("runs", "staging", "verify", "--json").out

    hostile_set(repository, harmless, bystander, open_folder)
    ended = repository.crew("run", "verify", "staging")
    assert reached(ended) >= {"user", "psql", "file", "process", "processes", "folder", "tcp"}


@needs("bwrap")
def test_code_in_the_sandbox_cannot_redirect_our_connections(open_folder: Path) -> None:
    with isolated_postgres(programs(16), open_folder) as server, isolated_postgres(programs(18), open_folder) as live:
        planted = server.data.parent / f".s.PGSQL.{server.port}"
        planted.unlink()
        planted.symlink_to(live.socket / f".s.PGSQL.{live.port}")
        with psycopg.connect(server.socket_url()) as connection:
            assert connection.info.server_version // 10_000 == 16


def test_a_server_that_asks_for_a_password_does_not_get_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "ours")
    endpoint = temporary_endpoint(Path("/scratch"), 5432)
    assert endpoint.password
    assert endpoint.environment["PGPASSWORD"] == endpoint.password != "ours"


@needs("root")
def test_hostile_code_without_a_sandbox_never_passes_closed_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capability to pass them would also read every file of this machine."""
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
    (tmp_path / "closed").mkdir(mode=0o700)
    folder = tmp_path / "closed" / "scratch"
    folder.mkdir()
    with pytest.raises(NotStarted, match=r"to whom a directory above .* is closed; install bubblewrap"):
        isolated_postgres(16, folder).__enter__()
    assert list(folder.iterdir()) == []


@needs("root")
def test_hostile_code_without_a_sandbox_cannot_replace_the_log(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root writes to the log. The server owns no directory above it."""
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
    open_folder.chmod(0o711)
    if not all(folder.stat().st_mode & 0o001 for folder in programs(16).parents):
        return  # the test above
    with isolated_postgres(16, open_folder) as server:
        assert server.program.log.parent.owner() == "root"
        assert server.data.owner() == "nobody"
