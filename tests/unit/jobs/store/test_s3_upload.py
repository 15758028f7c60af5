"""An upload that failed leaves nothing behind that disturbs the next upload of the same store."""

from __future__ import annotations

import hashlib
import os
from typing import Any, cast

import pytest
from botocore.exceptions import ConnectionClosedError

from jobs.store import StoreError, WrongHash
from jobs.store.retries import RequestTimeouts
from jobs.store.s3_errors import Location
from jobs.store.s3_upload import PART, SMALL, PartBody, PartSender, S3Upload

BUCKET = Location("s3://backups", "backups", "", "", "")


class FakeClient:
    """An S3 client that keeps objects in memory. The next `broken` requests with a body fail, holding a view of it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.broken = 0
        self.etag = "1"

    def _receive(self, body: bytearray | PartBody) -> bytes:
        view = body.read() if isinstance(body, PartBody) else memoryview(body)
        if self.broken:
            self.broken -= 1
            raise ConnectionClosedError(endpoint_url=f"https://s3 after {len(view)} bytes")
        return bytes(view)

    def put_object(self, **request: Any) -> dict[str, str]:
        self.objects[request["Key"]] = self._receive(request["Body"])
        return {"ETag": f'"{self.etag}"'}

    def create_multipart_upload(self, **request: Any) -> dict[str, str]:
        self.parts[request["Key"]] = {}
        return {"UploadId": request["Key"]}

    def upload_part(self, **request: Any) -> dict[str, str]:
        self.parts[request["Key"]][request["PartNumber"]] = self._receive(request["Body"])
        return {"ETag": f'"{request["PartNumber"]}"'}

    def complete_multipart_upload(self, **request: Any) -> None:
        self.objects[request["Key"]] = b"".join(body for _, body in sorted(self.parts.pop(request["Key"]).items()))

    def abort_multipart_upload(self, **request: Any) -> None:
        del self.parts[request["Key"]]

    def head_object(self, **request: Any) -> dict[str, int]:
        return {"ContentLength": len(self.objects[request["Key"]])}


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def sender(client: FakeClient) -> PartSender:
    return sending(client, client)


def sending(large: FakeClient, small: FakeClient) -> PartSender:
    return PartSender(lambda: cast("Any", large), lambda: cast("Any", small), BUCKET, 10_000, RequestTimeouts(tries=1))


def upload(sender: PartSender, key: str) -> S3Upload:
    return S3Upload(sender, key, f"prefix/{key}")


def fill(sender: PartSender, key: str, body: bytes) -> None:
    with upload(sender, key) as started:
        started.write(body)
        [piece] = started.complete().pieces
        assert piece.sha256 == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 1 << 20, PART - 1, PART, PART + 1, 2 * PART])
def test_an_upload_after_an_aborted_one_is_complete(sender: PartSender, client: FakeClient, size: int) -> None:
    body = os.urandom(size)
    aborted = upload(sender, "k1")  # stays referenced, as by the traceback of a failed try
    aborted.write(b"a" * (9 << 20))
    aborted.abort()
    fill(sender, "k2", body)
    assert client.objects == {"prefix/k2.0": body}


@pytest.mark.parametrize("size", [1 << 20, PART + (1 << 20), 3 * PART])
def test_an_upload_after_a_failed_request_is_complete(sender: PartSender, client: FakeClient, size: int) -> None:
    body = os.urandom(1 << 20)
    client.broken = 4
    with pytest.raises(StoreError) as failed:
        fill(sender, "k1", b"a" * size)
    client.broken = 0
    fill(sender, "k2", body)
    assert client.objects["prefix/k2.0"] == body, failed.value  # its traceback holds views of the buffers until here


@pytest.mark.parametrize(("size", "large"), [(0, False), (SMALL, False), (SMALL + 1, True), (PART + 1, True)])
def test_only_a_large_body_needs_the_client_for_large_ones(size: int, large: bool) -> None:
    clients = {large: FakeClient() for large in (True, False)}
    for client in clients.values():
        client.objects["prefix/k.0"] = b"1" * size  # the client for small bodies also reads the size of large ones
    fill(sending(clients[True], clients[False]), "k", b"2" * size)
    assert clients[large].objects == {"prefix/k.0": b"2" * size}
    assert clients[not large].objects == {"prefix/k.0": b"1" * size}


def test_an_ended_upload_cannot_write_into_the_buffer_of_the_next(sender: PartSender, client: FakeClient) -> None:
    aborted, body = upload(sender, "k1"), b"b" * (1 << 20)
    aborted.write(b"a" * (1 << 20))
    aborted.abort()
    with upload(sender, "k2") as started:
        started.write(body)
        with pytest.raises(StoreError, match="s3://backups: k1: the upload has ended"):
            aborted.write(b"c")
        started.complete()
    assert client.objects == {"prefix/k2.0": body}


def test_an_upload_that_cannot_be_aborted_ends_anyway(
    sender: PartSender, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionClosedError(endpoint_url="https://s3")

    started = upload(sender, "k1")
    started.write(b"a" * (2 * PART + 1))
    monkeypatch.setattr(client, "abort_multipart_upload", refuse)
    with pytest.raises(StoreError, match="AbortMultipartUpload"):
        started.abort()
    with pytest.raises(StoreError, match="the upload has ended"):
        started.write(b"a")


@pytest.mark.parametrize("size", [3, 2 * PART + 1])
def test_an_upload_with_another_hash_than_expected_never_becomes_visible(
    sender: PartSender, client: FakeClient, size: int
) -> None:
    body = os.urandom(size)
    with upload(sender, "k1") as started:
        started.write(body)
        with pytest.raises(WrongHash) as failed:
            started.complete(hashlib.sha256(b"another body").hexdigest())
    assert failed.value.found == hashlib.sha256(body).hexdigest()
    assert client.objects == client.parts == {}
    with upload(sender, "k1") as started:
        started.write(body)
        started.complete(hashlib.sha256(body).hexdigest())
    assert client.objects == {"prefix/k1.0": body}


def test_the_size_of_a_small_object_is_asked_only_if_its_etag_proves_nothing(
    sender: PartSender, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "head_object", lambda **_: {"ContentLength": 2})
    client.etag = hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
    fill(sender, "k1", b"abc")
    with pytest.raises(StoreError, match=r"k2\.0 has 2 bytes in the store, but 3 were sent"):
        fill(sender, "k2", b"abd")
