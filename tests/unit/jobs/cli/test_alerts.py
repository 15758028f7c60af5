"""crew alerts test, with an address that answers and one that does not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.unit.jobs.cli.conftest import Crew

Write = Callable[..., Path]


@pytest.fixture
def chat() -> Iterator[tuple[str, list[bytes]]]:
    """Something that takes messages: its address, and what it got."""
    got: list[bytes] = []

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Takes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}/t0ken-of-chat", got
        server.shutdown()


def test_each_address_gets_a_message(
    crew: Crew, write: Write, chat: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_URL", chat[0])
    write('[alerts]\nto = [{ env = "CHAT_URL" }]\n')
    ended = crew("alerts", "test", "try")
    assert (ended.code, len(chat[1])) == (0, 1)
    assert b"a test of alerts" in chat[1][0]
    assert ended.out.startswith("sent  json:… from environment variable CHAT_URL")


def test_one_that_fails_is_told_on_top_and_exits_1(
    crew: Crew, write: Write, chat: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_URL", chat[0])
    monkeypatch.setenv("DEAD_URL", "json://127.0.0.1:1/t0ken-of-dead")
    write('[alerts]\nto = [{ env = "CHAT_URL" }, { env = "DEAD_URL" }, { env = "UNSET_URL" }]\n')
    ended = crew("alerts", "test", "try")
    assert ended.code == 1
    assert [line.split()[0] for line in ended.out.splitlines()] == ["failed", "failed", "sent"]
    assert "t0ken" not in ended.out + ended.err
    told = crew("alerts", "test", "try", "--json").told
    assert [one["arrived"] for one in told["addresses"]] == [True, False, False]
    assert "UNSET_URL is not set" in told["addresses"][2]["sentence"]


def test_nobody_to_tell_is_bad_configuration(crew: Crew, write: Write) -> None:
    write()
    ended = crew("alerts", "test", "try")
    assert ended.code == 78
    assert "alerts.to names nobody" in ended.err
