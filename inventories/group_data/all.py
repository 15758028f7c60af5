"""Settings for every host in every inventory: its base, and the connection to it.

A group, or a host in the inventory, can set each of them to another value.
"""

import socket
from typing import Any

import paramiko

__all__ = [
    "journal_size",
    "metrics_from",
    "never_ban",
    "never_upgrade",
    "node_exporter",
    "open_ports",
    "reboot_window",
    "ssh_paramiko_connect_kwargs",
    "ssh_settings",
    "sysctl",
    "time_servers",
]

# Examples: 22, "60000-61000/udp", {"port": 6443, "from": ["10.0.0.0/8"]}. The ports of a host's groups are added: K3s
# servers get 6443, K3s nodes 80 and 443, PostgreSQL servers 5432 for postgres_clients. All other ports are closed, also
# those that containers publish. An entry for the port of a group replaces that of the group.
open_ports: list[object] = [22]
metrics_from: list[str] = []  # networks that reach node_exporter (9100); nodes and pods of a K3s cluster always do
node_exporter = True  # False: none, because the cluster runs its own, such as that of kube-prometheus-stack

# When hosts reboot after an update that needs it: "Sun 03:00-05:00", "Mon-Fri 23:00-01:00" or "02:00-04:00", in the
# time of the host. K3s nodes are drained and reboot one after another. "" means never.
reboot_window = ""
never_upgrade: list[str] = []  # packages that are never upgraded automatically, such as "postgresql-"

never_ban: list[str] = []  # networks that fail2ban ignores
ssh_settings: dict[str, str] = {}  # keys of sshd_config(5); they override the defaults
sysctl: dict[str, object] = {}  # keys of sysctl.conf(5); they override the defaults
time_servers: list[str] = []  # in addition to the system's own
journal_size = "1G"  # maximum size of the host's logs

# Detect a dead connection within 30 s; the kernel's default is about 15 minutes.
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}


class _Transport(paramiko.Transport):
    def get_exception(self) -> Exception | None:
        error: Exception | None = super().get_exception()
        # pyinfra handles SSHException, but not EOFError.
        return paramiko.SSHException("the connection is lost") if isinstance(error, EOFError) else error


def _connected(sock: socket.socket, **options: Any) -> paramiko.Transport:
    # paramiko leaves Nagle's algorithm on, which delays each remote command by some 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):  # not every system has all of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return _Transport(sock, **options)


ssh_paramiko_connect_kwargs = {"transport_factory": _connected}
