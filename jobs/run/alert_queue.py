"""Tells people beside the work: a dead chat or a slow mail server delays no job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from inventories import Environment, redact
from jobs.run import alerts, delivery
from jobs.run.delivery import ClaimedMessages, Delivery
from jobs.run.record import Record
from jobs.store import Store

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

BATCH_SIZE = 250  # alerts in one message; claiming so many takes less time than a claim lasts
PAUSE_AFTER_TIMEOUT = 60.0  # seconds in which an address that did not answer in time is not tried again


class AlertQueue:
    """One shift's telling: what comes in while a message is on its way goes out with the next one."""

    def __init__(
        self, environment: Environment, store: Store, log: FilteringBoundLogger, now: Callable[[], datetime]
    ) -> None:
        self._environment, self._store, self._log, self._now = environment, store, log, now
        self._waiting: list[Record] = []
        self._change = threading.Condition()
        self._until: float | None = None
        self._resting: dict[str, float] = {}
        self._thread: threading.Thread | None = None

    def add(self, record: Record) -> None:
        """Have a run's news told, soon."""
        if not self._environment.alerts.to:
            return
        with self._change:
            self._waiting.append(record)
            self._change.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="courier", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait until all is told, but not for long: what is not told by then is still news at the next run."""
        with self._change:
            self._until = time.monotonic() + delivery.DELIVERY_TIMEOUT
            self._change.notify()
        if self._thread:
            self._thread.join()
        if self._waiting:
            self._log.warning("alerts were not told in time; the next runs tell them", alerts=len(self._waiting))

    def _work(self) -> None:
        while batch := self._next():
            try:
                self._tell(batch)
            except Exception as error:
                self._log.warning("alert not told", why=redact(str(error)))

    def _next(self) -> list[Record]:
        """What waits; nothing once it is time to end."""
        with self._change:
            self._change.wait_for(lambda: self._waiting or self._until is not None)
            if self._left() <= 0:
                return []
            batch, self._waiting = self._waiting[:BATCH_SIZE], self._waiting[BATCH_SIZE:]
            return batch

    def _left(self) -> float:
        return delivery.DELIVERY_TIMEOUT if self._until is None else self._until - time.monotonic()

    def _tell(self, batch: list[Record]) -> None:
        with ThreadPoolExecutor(delivery.STORE_WRITERS) as pool:
            claims = [claim for found in pool.map(self._claims, batch) for claim in found]
        now = time.monotonic()
        resting = {name for name, until in self._resting.items() if until > now}
        silent = Delivery(claims, self._log).deliver(
            self._environment.alerts.to,
            delivery.send_by_apprise,
            max(1, min(delivery.DELIVERY_TIMEOUT, self._left())),
            resting,
        )
        self._resting |= dict.fromkeys(silent, time.monotonic() + PAUSE_AFTER_TIMEOUT)

    def _claims(self, record: Record) -> list[ClaimedMessages]:
        try:
            return alerts.claim_alerts(record, self._environment, self._store, self._log, self._now)
        except Exception as error:
            self._log.warning("alert not told", of=record.name, why=redact(str(error)))
            return []
