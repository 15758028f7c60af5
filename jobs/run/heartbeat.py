"""Tells a watcher of silence (healthchecks and its like) that a kind of job began and how it ended."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

from inventories import Secret, redact

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

LIMIT = 10.0
BODY_LIMIT = 100_000


def ping_address(address: str, ending: str, rid: str) -> str:
    """Where to ping: `/start`, `/0` or `/1` behind the check's own address, with the run's id."""
    base, _, query = address.partition("?")
    return f"{base.rstrip('/')}/{ending}?{query + '&' if query else ''}rid={rid}"


class Heartbeat:
    """One beat: a start and an end, sent beside the job so that a slow watcher never delays it."""

    def __init__(self, address: Secret | None, log: FilteringBoundLogger) -> None:
        self._address = address
        self._log = log
        self._rid = str(uuid.uuid4())
        self._lock = threading.Lock()
        self._sending: threading.Thread | None = None

    def start(self) -> None:
        """Ping the start, once however many subjects begin."""
        with self._lock:
            if self._address and not self._sending:
                self._send("start", "")

    def end(self, failed: bool, said: str) -> None:
        """Ping the end, if there was a start, and wait for it no longer than a slow watcher is worth."""
        with self._lock:
            if self._sending:
                self._send("1" if failed else "0", said)
                self._sending.join(LIMIT)

    def _send(self, ending: str, said: str) -> None:
        arguments = (self._sending, ending, redact(said).encode()[:BODY_LIMIT])
        self._sending = threading.Thread(target=self._ping, args=arguments, name="heartbeat", daemon=True)
        self._sending.start()

    def _ping(self, earlier: threading.Thread | None, ending: str, body: bytes) -> None:
        import urllib.request

        if earlier:
            earlier.join(LIMIT)
        if self._address is None:
            return
        begun = time.monotonic()
        try:
            address = ping_address(self._address.reveal(), ending, self._rid)
            if not address.startswith(("https://", "http://")):
                raise ValueError("its address is neither https:// nor http://")  # noqa: TRY301
            urllib.request.urlopen(address, body, timeout=LIMIT).close()  # noqa: S310
        except Exception as error:  # a watcher that is away must not fail what it watches
            took = round(time.monotonic() - begun, 1)
            self._log.warning("heartbeat not delivered", ping=ending, why=redact(str(error)), seconds=took)
