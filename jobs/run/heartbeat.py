"""Pings a heartbeat monitor, such as healthchecks.io, at the start and the end of a job."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

from inventories import Secret, redact
from inventories.printable import printable_lines

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

PING_TIMEOUT = 10.0
BODY_LIMIT = 100_000
PLAIN_GET = "#get"


def ping_address(address: str, event: str, rid: str) -> str | None:
    """Return the URL to ping: the check's address with `/start`, `/0` or `/1`, and the run's id.

    An address that ends in #get is itself the URL after a run without failure, and there is no other ping.
    """
    if address.endswith(PLAIN_GET):
        return address.removesuffix(PLAIN_GET) if event == "0" else None
    base, _, query = address.partition("?")
    return f"{base.rstrip('/')}/{event}?{query + '&' if query else ''}rid={rid}"


class Heartbeat:
    """A start ping and an end ping, sent in threads so that a slow monitor does not delay the job."""

    def __init__(self, address: Secret | None, log: FilteringBoundLogger) -> None:
        self._address = address
        self._log = log
        self._rid = str(uuid.uuid4())
        self._lock = threading.Lock()
        self._sending: threading.Thread | None = None

    def start(self) -> None:
        """Ping the start, once for all subjects."""
        with self._lock:
            if self._address and not self._sending:
                self._send("start", "")

    def end(self, failed: bool, report: str) -> None:
        """Ping the end, if there was a start, and wait for the answer up to the timeout."""
        with self._lock:
            if self._sending:
                self._send("1" if failed else "0", report)
                self._sending.join(PING_TIMEOUT)

    def _send(self, event: str, report: str) -> None:
        arguments = (self._sending, event, printable_lines(redact(report)).encode()[:BODY_LIMIT])
        self._sending = threading.Thread(target=self._ping, args=arguments, name="heartbeat", daemon=True)
        self._sending.start()

    def _ping(self, earlier: threading.Thread | None, event: str, body: bytes) -> None:
        import urllib.request

        if earlier:
            earlier.join(PING_TIMEOUT)
        if self._address is None:
            return
        started = time.monotonic()
        try:
            secret = self._address.reveal()
            address = ping_address(secret, event, self._rid)
            if address is None:
                return
            if not address.startswith(("https://", "http://")):
                raise ValueError("the address must begin with https:// or http://")  # noqa: TRY301
            sent = None if secret.endswith(PLAIN_GET) else body
            urllib.request.urlopen(address, sent, timeout=PING_TIMEOUT).close()  # noqa: S310
        except Exception as error:  # an unreachable monitor must not fail the run
            seconds = round(time.monotonic() - started, 1)
            self._log.warning("heartbeat not delivered", heartbeat=event, why=redact(str(error)), seconds=seconds)
