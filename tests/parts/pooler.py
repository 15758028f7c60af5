"""A connection pooler as far as a client sees it: it refuses startup options, or ignores them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

_SSL_REQUEST = 80877103
_REFUSAL = b"SFATAL\0VFATAL\0C08P01\0Munsupported startup parameter in options: search_path\0\0"


@contextmanager
def pooler(*, refuses: bool) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a pooler, and the queries that it gets. It answers each with the search_path of its session."""
    queries: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=_serve, args=(listening, refuses, queries), daemon=True).start()
        yield listening.getsockname()[1], queries


def _serve(listening: socket.socket, refuses: bool, queries: list[bytes]) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            with connection, suppress(ConnectionError, struct.error):
                _talk(connection, refuses, queries)


def _talk(connection: socket.socket, refuses: bool, queries: list[bytes]) -> None:
    while _startup(connection) == _SSL_REQUEST:
        connection.sendall(b"N")
    if refuses:
        connection.sendall(_message(b"E", _REFUSAL))
        return
    connection.sendall(_message(b"R", struct.pack("!i", 0)) + _message(b"S", b"client_encoding\0UTF8\0") + _READY)
    while kind := connection.recv(1):
        [size] = struct.unpack("!i", connection.recv(4))
        body = connection.recv(size - 4) if size > 4 else b""
        if kind == b"Q":
            queries.append(body.rstrip(b"\0"))
            connection.sendall(_ANSWER)


def _startup(connection: socket.socket) -> int:
    size, code = struct.unpack("!ii", connection.recv(8))
    if size > 8:
        connection.recv(size - 8)
    return int(code)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


_READY = _message(b"Z", b"I")
_PATH = b'"$user", public'
_ANSWER = (
    _message(b"T", struct.pack("!h", 1) + b"search_path\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0))
    + _message(b"D", struct.pack("!hi", 1, len(_PATH)) + _PATH)
    + _message(b"C", b"SHOW\0")
    + _READY
)
