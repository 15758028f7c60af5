"""A web hook and a mail server that keep what they receive."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import StreamRequestHandler, ThreadingTCPServer


@dataclass
class Received:
    """What a listener has received: path and body of each request, or the text of each mail."""

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    body: bytes = b""
    mails: list[str] = field(default_factory=list)
    answer: int = 200
    answering: threading.Event = field(default_factory=threading.Event)
    slow: float = 0

    @property
    def paths(self) -> list[str]:
        return [path.partition("?")[0] for path, _ in self.requests]


@contextmanager
def web_hook() -> Iterator[Received]:
    """Answer every POST and GET with `answer`, while `answering` is set (it is set by default)."""
    received = Received()
    received.answering.set()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.answering.wait(30)
            received.requests.append((self.path, body.decode()))
            self.send_response(received.answer)
            self.end_headers()

        def do_GET(self) -> None:
            received.requests.append((f"GET {self.path}", ""))
            self.send_response(received.answer)
            self.end_headers()
            self.wfile.write(received.body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    with _serving(server):
        received.port = server.server_port
        yield received
        received.answering.set()


@contextmanager
def otlp_collector() -> Iterator[Received]:
    """Take the traces that an OpenTelemetry exporter posts."""
    received = Received()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    with _serving(server):
        received.port = server.server_port
        yield received


@contextmanager
def mail_server() -> Iterator[Received]:
    """Accept every mail after `slow` seconds."""
    received = Received()

    class Sink(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 sink\r\n")
            for line in self.rfile:
                command = line[:4].upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mail = self._mail()
                    time.sleep(received.slow)
                    received.mails.append(mail)
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")

        def _mail(self) -> str:
            lines = iter(self.rfile.readline, b".\r\n")
            return b"".join(lines).decode()

    server = ThreadingTCPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    with _serving(server):
        received.port = server.server_address[1]
        yield received


@contextmanager
def _serving(server: ThreadingTCPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
