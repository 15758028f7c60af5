"""Deadlines that grow with the load of the machine, and waiting that says what it saw last."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

HIGHEST_LOAD = 8  # processes per core: more would make a test that fails take minutes


def deadline(seconds: float, load: float | None = None) -> float:
    """The seconds to allow now for what takes at most so many on a quiet machine. `load` is that of one core."""
    if load is None:
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * (2 + min(load, HIGHEST_LOAD))


def until(holds: Callable[[], Found], seconds: float = 15, saw: Callable[[], object] | None = None) -> Found:
    """Wait for a condition and return it. If it stays false, fail and show what it, or `saw`, returned last."""
    began = time.monotonic()
    while not (found := holds()):
        waited = time.monotonic() - began
        if waited > deadline(seconds):
            last = found if saw is None else saw()
            raise AssertionError(f"waited {waited:.0f} s in vain for {holds.__qualname__}; saw last: {last!r}")
        time.sleep(0.01)
    return found
