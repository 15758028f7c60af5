"""The alert queue."""

from __future__ import annotations

from typing import Any

import pytest

import jobs.log
from jobs.run.alert_queue import AlertQueue
from tests.parts.runs import environment


def test_an_environment_without_addresses_needs_no_thread_and_no_store() -> None:
    store: Any = None
    queue = AlertQueue(environment(), store, jobs.log.get(), lambda: pytest.fail("the queue asked for the time"))
    queue.add(None)  # type: ignore[arg-type]
    queue.close()
    assert queue._thread is None
