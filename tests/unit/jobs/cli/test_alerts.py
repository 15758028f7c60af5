"""crew alerts test, with an address that accepts messages and one that does not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.unit.jobs.cli.conftest import Crew, Write


@pytest.fixture
def chat() -> Iterator[tuple[str, list[bytes]]]:
    """An address that accepts messages, and the messages."""
    messages: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}/t0ken-of-chat", messages
        server.shutdown()


def test_each_address_gets_a_message(
    crew: Crew, write: Write, chat: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_URL", chat[0])
    write('[alerts]\nto = [{ env = "CHAT_URL" }]\n')
    result = crew("alerts", "test", "try")
    assert result.code == 0, result
    (message,) = chat[1]
    assert b"try: test alert" in message
    assert result.out.startswith("sent  json:… from environment variable CHAT_URL"), result


def test_failures_are_listed_first_and_exit_with_1(
    crew: Crew, write: Write, chat: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_URL", chat[0])
    monkeypatch.setenv("DEAD_URL", "json://127.0.0.1:1/t0ken-of-dead")
    write('[alerts]\nto = [{ env = "CHAT_URL" }, { env = "DEAD_URL" }, { env = "UNSET_URL" }]\n')
    result = crew("alerts", "test", "try")
    assert result.code == 1, result
    assert [line.split()[0] for line in result.out.splitlines()] == ["failed", "failed", "sent"]
    assert "t0ken" not in result.out + result.err
    addresses = crew("alerts", "test", "try", "--json").json["addresses"]
    assert [each["sent"] for each in addresses] == [True, False, False]
    assert "UNSET_URL is not set" in addresses[2]["sentence"]


def test_no_address_is_bad_configuration(crew: Crew, write: Write) -> None:
    write()
    result = crew("alerts", "test", "try")
    assert result.code == 78, result
    assert "alerts.to is empty" in result.err
