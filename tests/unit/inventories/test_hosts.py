"""The hosts of each environment, as pyinfra reads them."""

from __future__ import annotations

import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

NAMES = [path.stem for path in sorted((ROOT / "inventories").glob("*.toml"))]


def pyinfra_output(name: str) -> str:
    completed = subprocess.run(
        [Path(sys.executable).with_name("pyinfra"), f"inventories/{name}", "debug-inventory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return completed.stdout + completed.stderr


def pyinfra_groups(name: str) -> dict[str, str]:
    """The hosts of an environment and their groups, as pyinfra prints them."""
    output = pyinfra_output(name)
    found = re.findall(r"^\[(\S+)\] *\n--> Groups: (.*)$", output, re.MULTILINE)
    assert output.count("_connected") == len(found), output
    return dict(found)


def written_groups(name: str) -> dict[str, str]:
    """The hosts that the file of an environment lists, and their groups."""
    written = runpy.run_path(str(ROOT / "inventories" / name))
    lists = {group: hosts for group, hosts in written.items() if isinstance(hosts, list) and group[0] != "_"}
    return {
        host if isinstance(host, str) else host[0]: f"{group}, {name}" for group, of in lists.items() for host in of
    }


@pytest.mark.parametrize("name", NAMES)
def test_pyinfra_reads_all_hosts_of_the_file(name: str) -> None:
    assert pyinfra_groups(name) == written_groups(name)


@pytest.mark.parametrize("name", NAMES)
def test_environment_variables_replace_the_hosts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = re.findall(r'environ\.get\("(\w+)"', (ROOT / "inventories" / name).read_text())
    if variables:
        named = {variable: f"192.0.2.{number} 192.0.2.1{number}" for number, variable in enumerate(variables)}
        for variable, hosts in named.items():
            monkeypatch.setenv(variable, hosts)
        assert set(written_groups(name)) == set(" ".join(named.values()).split())


def test_connections_send_at_once_and_notice_a_dead_host() -> None:
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
