"""The embedded PostgreSQL."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from jobs.embedded import NotInstalled, NotStarted, postgres, programs
from tests.parts.needs import needs
from tests.parts.processes import is_gone


@pytest.mark.parametrize("major", [16, 18])
def test_a_server_answers_on_its_socket_and_leaves_nothing(major: int, tmp_path: Path) -> None:
    with postgres(major, tmp_path, settings={"wal_level": "logical"}) as server:
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SHOW wal_level").fetchone() == ("logical",)
            assert connection.info.server_version // 10_000 == server.major == major
        assert (server.programs / "pg_dump").exists()
    assert list(tmp_path.iterdir()) == []
    assert is_gone(server.program.pid)


@needs("root")
def test_root_can_use_folders_that_are_closed_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    shutil.copytree(programs(16).parent, closed / "programs" / "pginstall", symlinks=True)
    libraries = programs(16).parents[1].with_suffix(".libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    closed.chmod(0o700)
    with (
        postgres(closed / "programs" / "pginstall" / "bin", closed) as server,
        psycopg.connect(server.url()) as connection,
    ):
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_password_is_required_on_tcp_and_on_the_socket(tmp_path: Path) -> None:
    with postgres(16, tmp_path, tcp=True, password="secret") as server:
        for url in (server.url(), server.socket_url()):
            with psycopg.connect(url, password="secret") as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url, password="guessed")


def test_a_server_that_does_not_start_is_reported_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match="no_such_setting"), postgres(16, tmp_path, settings={"no_such_setting": "1"}):
        pass
    with pytest.raises(NotInstalled, match="no PostgreSQL server programs in"), postgres(tmp_path, tmp_path):
        pass
