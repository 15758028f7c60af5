"""What holds for every host, whichever inventory it is in."""

import socket

import paramiko

__all__ = ["ssh_paramiko_connect_kwargs"]


def _without_delay(sock: socket.socket, **options: object) -> paramiko.Transport:
    # Paramiko leaves Nagle's algorithm on, and then each remote command waits some 40 ms for an acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return paramiko.Transport(sock, **options)  # type: ignore[arg-type]


ssh_paramiko_connect_kwargs = {"transport_factory": _without_delay}
