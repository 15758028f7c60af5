"""The hosts, as pyinfra itself reads them."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

GROUPS = {
    "dev": {"dev-1.acme.example": "dev_servers, dev"},
    "staging": {
        "staging-server-1.acme.example": "k3s_servers, staging",
        "staging-agent-1.acme.example": "k3s_agents, staging",
    },
    "production": {
        **{f"production-server-{n}.acme.example": "k3s_servers, production" for n in (1, 2, 3)},
        **{f"production-agent-{n}.acme.example": "k3s_agents, production" for n in (1, 2, 3)},
    },
}


def seen_by_pyinfra(name: str, **variables: str) -> str:
    told = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), f"inventories/{name}", "debug-inventory"],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return told.stdout + told.stderr


@pytest.mark.parametrize("name", GROUPS)
def test_pyinfra_reads_the_shipped_hosts(name: str) -> None:
    told = seen_by_pyinfra(name)
    for host, groups in GROUPS[name].items():
        assert f"[{host}]" in told
        assert f"--> Groups: {groups}" in told
    assert told.count("--> Groups:") == len(GROUPS[name])
    assert told.count("_connected") == len(GROUPS[name])


def test_variables_name_other_hosts() -> None:
    told = seen_by_pyinfra("staging", STAGING_K3S_SERVERS="192.0.2.1 192.0.2.2", STAGING_K3S_AGENTS="")
    assert "[192.0.2.1]" in told
    assert "[192.0.2.2]" in told
    assert "acme.example" not in told


def test_connections_do_not_wait_for_acknowledgements_nor_for_hosts_that_are_gone() -> None:
    data = runpy.run_path(str(ROOT / "inventories" / "group_data" / "all.py"))
    near, far = socket.create_server(("127.0.0.1", 0)), socket.socket()
    with near, far:
        far.connect(near.getsockname())
        transport = data["ssh_paramiko_connect_kwargs"]["transport_factory"](far, disabled_algorithms=None)
        assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert far.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert far.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        transport.saved_exception = EOFError()
        assert str(transport.get_exception()) == "the connection is lost"
        transport.close()
