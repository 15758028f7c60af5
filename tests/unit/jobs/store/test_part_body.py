import os
import socket
import threading
import time
from http.client import HTTPConnection

import pytest

from jobs.store.s3_upload import PartBody
from tests.parts.patience import deadline


def test_a_body_is_read_in_blocks_and_from_its_start_again() -> None:
    body = PartBody(bytearray(b"0123456789"))
    assert (len(body), body.tell()) == (10, 0)
    assert [bytes(body.read(4)) for _ in range(4)] == [b"0123", b"4567", b"89", b""]
    assert (body.seek(0, os.SEEK_END), body.tell()) == (10, 10)
    assert body.seek(2) == 2
    assert bytes(body.read()) == b"23456789"


@pytest.mark.parametrize("of_a_file", [True, False])
def test_a_slow_network_does_not_end_an_upload_that_moves_on(of_a_file: bool) -> None:
    """The limit is for a block of a file object; for bytes it is for all of them, which is what PartBody avoids."""
    limit, body = deadline(0.5), bytearray(4 << 20)
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    ours.settimeout(limit)
    connection = HTTPConnection("test")
    connection.sock = ours
    slow_until = time.monotonic() + 2 * limit

    def receive() -> None:
        while theirs.recv(1 << 14):
            if time.monotonic() < slow_until:
                time.sleep(limit / 20)

    receiving = threading.Thread(target=receive, daemon=True)
    receiving.start()
    if of_a_file:
        connection.send(PartBody(body))
    else:
        with pytest.raises(TimeoutError):
            connection.send(body)
    ours.close()
    receiving.join()
    theirs.close()
