"""Sends alerts in a separate thread, so that a slow chat or mail server delays no job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from inventories import Environment, redact
from jobs.run import alerts, delivery, quiet_hours
from jobs.run.delivery import ClaimedMessages, Delivery
from jobs.run.job import Failed
from jobs.run.record import Record
from jobs.store import Store, StoreError

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

BATCH_SIZE = 250  # records whose alerts go out together; claiming that many takes less time than a claim lasts
PAUSE_AFTER_TIMEOUT = 60.0  # seconds without a new try after an address did not answer in time


class AlertQueue:
    """The alerts of one run_job(). Records that arrive during a delivery go out with the next one."""

    def __init__(
        self, environment: Environment, store: Store, log: FilteringBoundLogger, now: Callable[[], datetime]
    ) -> None:
        self._environment, self._store, self._log, self._now = environment, store, log, now
        self._waiting: list[Record] = []
        self._change = threading.Condition()
        self._deadline: float | None = None
        self._paused_until: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, record: Record) -> None:
        """Queue the alerts of a run."""
        if not self._environment.alerts.all_addresses:
            return
        with self._change:
            self._waiting.append(record)
            self._change.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="alert queue", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait until all alerts are sent, up to the delivery timeout. The next run sends what is left."""
        with self._change:
            self._deadline = time.monotonic() + delivery.DELIVERY_TIMEOUT
            self._change.notify()
        if self._thread:
            self._thread.join()
        if self._waiting:
            self._log.warning("alerts not delivered in time; the next runs send them", alerts=len(self._waiting))

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._deliver(batch)
            except Exception as error:
                self._log.warning("alert not delivered", why=redact(str(error)))

    def _next_batch(self) -> list[Record]:
        """Wait for records and return them; return none when the queue is closed."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._deadline is not None)
            if self._seconds_left() <= 0:
                return []
            batch, self._waiting = self._waiting[:BATCH_SIZE], self._waiting[BATCH_SIZE:]
            return batch

    def _seconds_left(self) -> float:
        return delivery.DELIVERY_TIMEOUT if self._deadline is None else self._deadline - time.monotonic()

    def _deliver(self, batch: list[Record]) -> None:
        with ThreadPoolExecutor(delivery.STORE_WRITERS) as pool:
            claims = [claim for claims in pool.map(self._claim, batch) for claim in claims]
        if quiet_hours.is_quiet(self._environment, self._now()):
            claims = [claim for claim in claims if claim.urgent or not self._let_wait(claim)]
        else:
            claims += self._waiting_claims()
        now = time.monotonic()
        paused = {address for address, until in self._paused_until.items() if until > now}
        timeout = max(1, min(delivery.DELIVERY_TIMEOUT, self._seconds_left()))
        timed_out = Delivery(claims, self._log).deliver(
            self._environment.alerts.all_addresses, delivery.send_by_apprise, timeout, paused
        )
        self._paused_until |= dict.fromkeys(timed_out, time.monotonic() + PAUSE_AFTER_TIMEOUT)

    def _let_wait(self, claim: ClaimedMessages) -> bool:
        """Let messages wait until the quiet hours end; return False if the store cannot keep them."""
        try:
            quiet_hours.let_wait(claim, self._environment, self._store, self._now())
        except (StoreError, Failed) as error:
            self._log.warning("finding sent in quiet hours, because it cannot wait", why=redact(str(error)))
            return False
        return True

    def _waiting_claims(self) -> list[ClaimedMessages]:
        try:
            return quiet_hours.claim_waiting(self._environment, self._store, self._now)
        except (StoreError, Failed) as error:
            self._log.warning("waiting alerts not readable; the next run tries again", why=redact(str(error)))
            return []

    def _claim(self, record: Record) -> list[ClaimedMessages]:
        try:
            return alerts.claim_alerts(record, self._environment, self._store, self._log, self._now)
        except Exception as error:
            self._log.warning("alert not delivered", of=record.name, why=redact(str(error)))
            return []
