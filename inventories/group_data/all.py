"""What holds for every host, whichever inventory it is in."""

import socket
from typing import Any

import paramiko

__all__ = ["ssh_paramiko_connect_kwargs"]

# A host that is gone without a word, its cable pulled: told after half a minute, not after a quarter of an hour.
_GONE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 30_000}


class _Transport(paramiko.Transport):
    def get_exception(self) -> Exception | None:
        lost: Exception | None = super().get_exception()
        # pyinfra knows what to do with an error of SSH, and not with this one.
        return paramiko.SSHException("the connection is lost") if isinstance(lost, EOFError) else lost


def _connected(sock: socket.socket, **options: Any) -> paramiko.Transport:
    # Paramiko leaves Nagle's algorithm on, and then each remote command waits some 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _GONE.items():
        if hasattr(socket, name):  # not every system has each of them
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return _Transport(sock, **options)


ssh_paramiko_connect_kwargs = {"transport_factory": _connected}
