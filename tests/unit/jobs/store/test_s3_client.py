"""What a store on S3 keeps: credentials until they have expired, connections, and that it honours conditions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from jobs.store import Expired, NotConditional
from jobs.store.s3 import S3Store
from jobs.store.s3_errors import Location
from tests.parts.patience import deadline

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class TokenServer(BaseHTTPRequestHandler):
    """A server that accepts every write with the token of today."""

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        valid = self.headers["X-Amz-Security-Token"] == "today"
        self.send_response(200 if valid else 400)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0" if valid else str(len(EXPIRED)))
        self.end_headers()
        if not valid:
            self.wfile.write(EXPIRED)

    def log_message(self, *_: object) -> None:
        pass


class MeetingServer(TokenServer):
    """A server that answers only once all of some requests have arrived."""

    protocol_version = "HTTP/1.1"
    at_once = threading.Barrier(32)
    connections: ClassVar[set[int]] = set()

    def do_PUT(self) -> None:
        self.connections.add(self.client_address[1])
        self.at_once.wait(30)
        super().do_PUT()


class BusyServer(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with BusyServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def endpoint() -> Iterator[str]:
    with serving(TokenServer) as url:
        yield url


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    return file


def write(file: Path, token: str) -> None:
    file.write_text(f"[writer]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = {token}\n")


def test_renewed_credentials_are_used_after_the_expired_ones(endpoint: str, credentials: Path) -> None:
    write(credentials, "yesterday")
    store = S3Store(Location("s3://acme/crew", "acme", "eu-central-1", endpoint, "writer"), "crew", 10)
    for _ in range(2):
        with pytest.raises(Expired, match="the credentials of profile writer have expired; run: aws sso login"):
            store.put("a", b"1")
    write(credentials, "today")
    store.put("a", b"1")


def test_connections_of_many_requests_at_once_are_kept(credentials: Path) -> None:
    """Else each further request of many small databases would need a new connection, with TLS."""
    write(credentials, "today")
    with serving(MeetingServer) as url:
        store = S3Store(Location("s3://acme/crew", "acme", "eu-central-1", url, "writer"), "crew", 10)
        for _ in range(2):
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(lambda number: store.put(f"a{number}", b"1"), range(32)))
    assert len(MeetingServer.connections) == 32


@pytest.fixture
def store(endpoint: str, credentials: Path) -> S3Store:
    write(credentials, "today")
    return S3Store(Location("s3://acme/crew", "acme", "eu-central-1", endpoint, "writer"), "crew", 10)


def test_runs_side_by_side_test_the_conditions_of_the_store_once(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = list[str]()

    def pass_while_another_run_begins() -> bool:
        tested.append(threading.current_thread().name)
        if len(tested) == 1:
            other.start()
            other.join(0.2)
        return True

    other = threading.Thread(target=store.require_conditional_writes)
    monkeypatch.setattr(store, "_test_conditions", pass_while_another_run_begins)
    store.require_conditional_writes()
    other.join()
    store.require_conditional_writes()
    assert len(tested) == 1


def test_a_run_tests_the_conditions_itself_while_the_test_of_another_run_takes_long(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = list[str]()

    def wait_for_another_run() -> bool:
        tested.append(threading.current_thread().name)
        if len(tested) == 1:
            other.start()
            other.join(deadline(15))
            assert not other.is_alive()
        return True

    other = threading.Thread(target=store.require_conditional_writes)
    monkeypatch.setattr(store, "_test_conditions", wait_for_another_run)
    monkeypatch.setattr("jobs.store.s3.LONGEST_TEST", 0.01)
    store.require_conditional_writes()
    assert len(tested) == 2


def test_a_test_that_fails_is_repeated_by_the_next_run(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    monkeypatch.setattr(store, "_test_conditions", lambda: answers.pop(0))
    with pytest.raises(NotConditional):
        store.require_conditional_writes()
    store.require_conditional_writes()
    assert not answers
