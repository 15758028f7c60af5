"""Turns: which subjects of a run work side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction


class Turns:
    """A number of turns, each of which several subjects can share. They are given in the order of the requests."""

    def __init__(self, number: int) -> None:
        self._free = Fraction(number)
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

    @contextmanager
    def taken(self, share: Fraction) -> Iterator[None]:
        """Wait for a share of a turn, and have it inside this context."""
        self._take(share)
        try:
            yield
        finally:
            self._give_back(share)

    @contextmanager
    def lent(self, share: Fraction) -> Iterator[None]:
        """Let other subjects have our share inside this context, and wait for it at the end."""
        self._give_back(share)
        try:
            yield
        finally:
            self._take(share)

    def _take(self, share: Fraction) -> None:
        place = object()
        with self._changed:
            self._waiting.append(place)
            self._changed.wait_for(lambda: self._waiting[0] is place and self._free >= share)
            self._waiting.popleft()
            self._free -= share
            self._changed.notify_all()

    def _give_back(self, share: Fraction) -> None:
        with self._changed:
            self._free += share
            self._changed.notify_all()
