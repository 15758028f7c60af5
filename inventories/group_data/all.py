"""Settings for every host in every inventory."""

import socket
from typing import Any

import paramiko

__all__ = ["ssh_paramiko_connect_kwargs"]

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
