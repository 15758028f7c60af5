"""What embedded servers are started with, and what is said when there are none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from jobs.embedded import NotInstalled, programs
from jobs.embedded._postgres import initdb_command, server_command
from jobs.embedded._seaweed import seaweed_command

BIN = Path("/usr/lib/postgresql/15/bin")


def test_a_server_listens_on_its_socket_alone_unless_tcp_is_asked_for() -> None:
    assert server_command(BIN, Path("/d"), Path("/s"), 5433, tcp=False, settings={"wal_level": "logical"}) == [
        "/usr/lib/postgresql/15/bin/postgres", "-D", "/d", "-p", "5433",
        "-c", "listen_addresses=", "-c", "unix_socket_directories=/s",
        "-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "wal_level=logical",
    ]  # fmt: skip
    assert "listen_addresses=127.0.0.1" in server_command(BIN, Path("/d"), Path("/s"), 5433, tcp=True, settings={})


def test_a_cluster_with_a_password_asks_everybody_for_it() -> None:
    common = [
        "/usr/lib/postgresql/15/bin/initdb", "--pgdata=/d", "--username=postgres",
        "--encoding=UTF8", "--locale=C", "--no-sync",
    ]  # fmt: skip
    assert initdb_command(BIN, Path("/d"), None) == [*common, "--auth=trust"]
    assert initdb_command(BIN, Path("/d"), Path("/p")) == [*common, "--auth=scram-sha-256", "--pwfile=/p"]


def test_seaweed_is_for_this_machine_alone_and_tells_nobody_about_it() -> None:
    assert seaweed_command(Path("/bin/weed"), Path("/d"), {"s3": 10001, "master": 10002}) == [
        "/bin/weed", "-logdir=/d", "mini", "-dir=/d", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.port=10001",
        "-master.port=10002",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false", "-master.telemetry=false",
        "-filer.maxMB=2",
        "-volume.max=1000",
    ]  # fmt: skip


def test_without_the_extra_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(NotInstalled, match=r"pip install 'groundcrew\[demo\]'"):
        programs(16)


def test_a_major_that_is_not_embedded_names_those_that_are() -> None:
    with pytest.raises(NotInstalled, match="no embedded PostgreSQL 14; take one of 16, 18"):
        programs(14)
