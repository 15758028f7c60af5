"""A proxy that cuts, stalls or corrupts connections on request: HTTP to S3, or bytes to PostgreSQL."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from io import BufferedReader
from typing import TypeVar

SLOW_DOWN = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>slow down</Message></Error>'
CHUNK = 65536


Rule = TypeVar("Rule", "Fault", "Answer")


class Way(Enum):
    """The direction: to the server, or back to the client."""

    UP = "up"
    DOWN = "down"


class Act(Enum):
    """The kind of a fault."""

    CUT = "cut"
    STALL = "stall"
    CORRUPT = "corrupt"


@dataclass
class Fault:
    """A fault at one byte of the next `times` messages."""

    act: Act
    at: int
    way: Way
    matching: str
    times: int


@dataclass
class Answer:
    """A reply to the next `times` requests, which are not forwarded to the server."""

    status: int
    body: bytes
    matching: str
    times: int


@dataclass(frozen=True)
class Message:
    """A request or a reply: its first line, its head and its body. Without HTTP: all bytes of a connection."""

    line: str
    head: bytes
    body: Iterator[bytes]


class Proxy:
    """A listener on 127.0.0.1 that forwards to a target. Tests set faults while it runs.

    With HTTP, `at` counts the bytes of a body, and `matching` is text of the request's first line ("PUT /bucket/key"),
    also for replies. A cut or stall at 0 also stops the head. Without HTTP, `at` counts the bytes of a connection.
    """

    def __init__(self, target: tuple[str, int], *, http: bool = True) -> None:
        self.target = target
        self.http = http
        self.port = 0
        self.requests: list[str] = []
        self._faults: list[Fault] = []
        self._answers: list[Answer] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._freed = threading.Event()
        self._listener: socket.socket | None = None
        self.come_back()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, times: int, status: int = 503, body: bytes = SLOW_DOWN, matching: str = "") -> None:
        """Answer the next requests instead of the server."""
        with self._lock:
            self._answers.append(Answer(status, body, matching, times))

    def cut(self, at: int = 0, way: Way = Way.UP, matching: str = "", times: int = 1) -> None:
        """Reset the connection after `at` bytes in this direction."""
        self._add(Fault(Act.CUT, at, way, matching, times))

    def stall(self, at: int = 0, way: Way = Way.UP, matching: str = "", times: int = 1) -> None:
        """Forward nothing after `at` bytes in this direction, and keep the connection open."""
        self._add(Fault(Act.STALL, at, way, matching, times))

    def corrupt(self, at: int = 0, way: Way = Way.UP, matching: str = "", times: int = 1) -> None:
        """Flip a bit of the byte at this position."""
        self._add(Fault(Act.CORRUPT, at, way, matching, times))

    def clear(self) -> None:
        """Remove all faults, and resume stalled connections."""
        with self._lock:
            self._faults.clear()
            self._answers.clear()
            self._freed.set()
            self._freed = threading.Event()

    def go_away(self) -> None:
        """Reset all connections and refuse new ones."""
        with self._lock:
            listener, self._listener = self._listener, None
            connections, self._open = self._open, set()
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for each in connections:
            reset(each)

    def come_back(self) -> None:
        """Listen, again on the same port."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        in_a_thread(self._accept, listener)

    def close(self) -> None:
        self.go_away()
        self.clear()

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                in_a_thread(self._connect, listener.accept()[0])

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self.target)
        except OSError:
            reset(client)
            return
        with self._lock:
            self._open |= {client, server}
            away = self._listener is None
        if away:
            reset(client)
            reset(server)
        request_lines: deque[str] = deque()
        up = requests(client, request_lines) if self.http else connection(client)
        down = replies(server, request_lines) if self.http else connection(server)
        in_a_thread(self._pump, Way.UP, up, client, server)
        in_a_thread(self._pump, Way.DOWN, down, server, client)

    def _pump(self, way: Way, messages: Iterator[Message], source: socket.socket, sink: socket.socket) -> None:
        try:
            for message in messages:
                self._pass_on(way, message, source, sink)
            sink.shutdown(socket.SHUT_WR)
        except (OSError, Cut):
            with self._lock:
                self._open -= {source, sink}
            reset(source)
            reset(sink)

    def _pass_on(self, way: Way, message: Message, source: socket.socket, sink: socket.socket) -> None:
        if way is Way.UP:
            self.requests.append(message.line)
            answer = self._next(self._answers, message)
            if answer is not None:
                refuse(message, answer, source)
        fault = self._next([fault for fault in self._faults if fault.way is way], message)
        if fault is not None and fault.at == 0 and fault.act is not Act.CORRUPT:
            strike(fault.act, b"", self._freed)
        sink.sendall(message.head)
        for chunk in message.body if fault is None else with_fault(message.body, fault, self._freed):
            sink.sendall(chunk)

    def _next(self, rules: Sequence[Rule], message: Message) -> Rule | None:
        """Return the first rule that is not used up, and use it once."""
        with self._lock:
            rule = next((rule for rule in rules if rule.times and rule.matching in message.line), None)
            if rule is not None:
                rule.times -= 1
            return rule


class Cut(Exception):
    """The connection must be reset."""


def with_fault(body: Iterator[bytes], fault: Fault, freed: threading.Event) -> Iterator[bytes]:
    """Yield the body as the other side receives it."""
    left = fault.at
    for chunk in body:
        if 0 <= left < len(chunk):
            yield chunk[:left]
            yield strike(fault.act, chunk[left:], freed)
        else:
            yield chunk
        left -= len(chunk)


def strike(act: Act, rest: bytes, freed: threading.Event) -> bytes:
    """Return the bytes after a fault."""
    if act is Act.CUT:
        raise Cut
    if act is Act.STALL:
        freed.wait()
        return rest
    return bytes([rest[0] ^ 1]) + rest[1:]


def refuse(message: Message, answer: Answer, client: socket.socket) -> None:
    """Reply instead of the server. A client that expects 100-continue has not sent its body yet."""
    if b"100-continue" not in message.head.lower():
        for _ in message.body:
            pass
    head = f"HTTP/1.1 {answer.status} Refused\r\nContent-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    client.sendall(head.encode() + answer.body)
    client.shutdown(socket.SHUT_WR)
    while client.recv(CHUNK):  # a reset before the client has read the reply would lose it
        pass
    raise Cut


def connection(source: socket.socket) -> Iterator[Message]:
    """Yield all bytes of a connection as one message."""
    yield Message("", b"", iter(lambda: source.recv(CHUNK), b""))


def requests(source: socket.socket, request_lines: deque[str]) -> Iterator[Message]:
    """Yield the requests of a client."""
    stream = source.makefile("rb")
    while head := read_head(stream):
        line = head.split(b"\r\n", 1)[0].decode()
        request_lines.append(line)
        yield Message(line, head, read_body(stream, head, endless=False))


def replies(source: socket.socket, request_lines: deque[str]) -> Iterator[Message]:
    """Yield the replies of a server, each with the first line of its request."""
    stream = source.makefile("rb")
    while head := read_head(stream):
        status = int(head.split(b" ", 2)[1])
        if status < 200:
            yield Message("", head, iter(()))
            continue
        line = request_lines.popleft()
        without_body = line.startswith("HEAD ") or status in {204, 304}
        yield Message(line, head, iter(()) if without_body else read_body(stream, head, endless=True))


def read_head(stream: BufferedReader) -> bytes:
    """Return the lines up to the empty line; nothing at the end of the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    return head


def read_body(stream: BufferedReader, head: bytes, *, endless: bool) -> Iterator[bytes]:
    """Yield the body that the head announces, as it arrives; chunked bodies keep their chunk sizes."""
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        yield from read_chunks(stream)
    elif length is not None:
        yield from read_exactly(stream, int(length[1]))
    elif endless:
        yield from iter(lambda: stream.read1(CHUNK), b"")


def read_exactly(stream: BufferedReader, left: int) -> Iterator[bytes]:
    while left:
        piece = stream.read1(min(left, CHUNK))
        if not piece:
            raise Cut
        left -= len(piece)
        yield piece


def read_chunks(stream: BufferedReader) -> Iterator[bytes]:
    size = -1
    while size != 0:
        line = stream.readline()
        yield line
        size = int(line.split(b";")[0], 16)
        yield from read_exactly(stream, size)
        if size:
            yield stream.readline()
    while (line := stream.readline()).strip():
        yield line
    yield line


def in_a_thread(work: Callable[..., object], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other side gets an error, not an end."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
    with suppress(OSError):
        os.close(connection.detach())  # close() would wait for the file of makefile()
