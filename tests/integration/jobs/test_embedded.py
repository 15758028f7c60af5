"""Embedded servers: there when asked for, gone afterwards, however that came."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from jobs.embedded import NotInstalled, NotStarted, postgres, programs, seaweed, start_program
from tests.parts.needs import needs
from tests.parts.patience import until

HOLDER = """
import sys, time
from pathlib import Path
from jobs.embedded import postgres, start_program
folder = Path(sys.argv[1])
log = folder / "log"
with postgres(16, folder) as database, start_program("sleep", ["sleep", "600"], log, environment={}) as sleep:
    print(database.program.pid, sleep.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("major", [16, 18])
def test_postgres_answers_on_its_socket_and_leaves_nothing(major: int, tmp_path: Path) -> None:
    with postgres(major, tmp_path, settings={"wal_level": "logical"}) as server:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
            assert connection.info.server_version // 10_000 == server.major == major
        assert (server.programs / "pg_dump").exists()
    assert list(tmp_path.iterdir()) == []
    assert is_gone(server.program.pid)


@needs("root")
def test_root_s_own_folders_may_be_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    shutil.copytree(programs(16).parent, closed / "programs" / "pginstall", symlinks=True)
    libraries = programs(16).parents[1].with_suffix(".libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    closed.chmod(0o700)
    with postgres(closed / "programs" / "pginstall" / "bin", closed) as server, psycopg.connect(server.url()) as asked:
        assert asked.execute("SELECT 1").fetchone() == (1,)


def test_with_tcp_and_a_password_nobody_enters_without(tmp_path: Path) -> None:
    with postgres(16, tmp_path, tcp=True, password="said once") as server:
        for url in (server.url(), server.socket_url()):
            with psycopg.connect(url, password="said once") as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url, password="guessed")


def test_seaweed_keeps_an_object_and_leaves_nothing(tmp_path: Path) -> None:
    with seaweed(tmp_path, bucket="kept") as server:
        server.client().put_object(Bucket="kept", Key="a", Body=b"1")
        assert server.client().get_object(Bucket="kept", Key="a")["Body"].read() == b"1"
        assert server.secret not in repr(server)
        port = int(server.endpoint.rsplit(":", 1)[1])
        assert Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()
    assert not Path(f"/tmp/seaweedfs-s3-{port}.sock").exists()
    assert list(tmp_path.iterdir()) == []
    assert is_gone(server.program.pid)


def test_an_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), postgres(18, tmp_path), seaweed(tmp_path):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_programs_end_with_who_started_them(how: signal.Signals) -> None:
    with (
        tempfile.TemporaryDirectory() as short,
        subprocess.Popen([sys.executable, "-c", HOLDER, short], stdout=subprocess.PIPE, text=True) as holder,
    ):
        assert holder.stdout is not None
        pids = [int(pid) for pid in holder.stdout.readline().split()]
        holder.send_signal(how)
        assert len(pids) == 2
        until(lambda: all(map(is_gone, pids)))


def test_a_server_that_can_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match="no_such_setting"), postgres(16, tmp_path, settings={"no_such_setting": "1"}):
        pass
    with pytest.raises(NotInstalled, match="no PostgreSQL server programs in"), postgres(tmp_path, tmp_path):
        pass


def test_a_program_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match=r"sleeper is not ready after 0.1 s: it said nothing"),
        start_program("sleeper", ["sleep", "60"], tmp_path / "log", environment={}) as program,
    ):
        program.wait_until(lambda: False, patience=0.1)
    assert is_gone(program.pid)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
