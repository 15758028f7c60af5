"""Looks whether a stack is as it should be, and only reads: it applies nothing, writes no state, takes no lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from inventories import StateSettings
from terraform import drift, remote
from terraform.diagnosis import StateLock
from terraform.drift import DriftFinding
from terraform.errors import ChangeRefused, StackError, TemporaryStackError
from terraform.stack import SavedPlan, Stack
from terraform.state import StateVersion

TRIES = 2


def find_drift(stack: Stack) -> tuple[DriftFinding, ...]:
    """All findings of a stack; again, if somebody applied meanwhile, and OutOfReach if he still does.

    While an apply runs, the state in the bucket is the old one, and what it has done by then looks like drift. So with
    drift, and only then, the lock is read, and the state once more: an apply that has just ended has written it.
    """
    watch = StateWatch(stack)
    ignore = stack.settings.drift.ignore if stack.settings.drift else ()
    for _ in range(TRIES):
        with suppress(ChangeRefused), stack.planned(lock=False, meanwhile=watch.begin) as planned:
            if not watch.is_still(planned):
                continue
            found = drift.drift_findings(planned.plan, ignore)
            if not any(one.kind.is_drift and not one.ignored for one in found):
                return found
            if held := _held(stack):
                raise TemporaryStackError(_running(stack, held))
            watch.ask_again()
            if watch.is_still(planned):
                return found
    raise TemporaryStackError(
        f"{stack.name}: its state changed while it was looked at, {TRIES} times; is an apply running?"
    )


def _held(stack: Stack) -> StateLock | None:
    """Who holds the lock to change something; nobody, as far as is known, where it may not be read."""
    with suppress(StackError):
        held = remote.current_lock(stack.state, stack.place.environment, stack.place.stack)
        return held if held and held.changes else None
    return None


def _running(stack: Stack, held: StateLock) -> str:
    way_out = (
        f"look again when it has ended, or if its process is dead: crew stacks unlock {stack.name.replace('/', ' ')}"
    )
    return f"{stack.name}: what is found may be the work of an apply that is running, by {held.sentence}; {way_out}"


@dataclass
class StateWatch:
    """The state in the bucket, read when a plan is made: beside the program, for both take their time."""

    stack: Stack
    _s3: Any = None
    _found: list[StateVersion | Exception] = field(default_factory=list)
    _asking: threading.Thread | None = None

    def begin(self) -> Callable[[], object]:
        """Get ready while the plan is made; what is returned asks, once it is."""
        getting = threading.Thread(target=self._get_ready, daemon=True)
        getting.start()
        return lambda: self._ask(getting)

    def is_still(self, planned: SavedPlan) -> bool:
        """Whether the state is the one that the plan was made of."""
        if self._asking:
            self._asking.join()
        found = self._found.pop()
        if isinstance(found, Exception):
            raise found
        return found.is_of(planned.serial)

    def _state(self) -> StateSettings:
        return self.stack.state

    def _get_ready(self) -> None:
        if self._s3 is None:
            try:
                self._s3 = remote.client(self._state(), "s3")
            except Exception as error:
                self._s3 = error

    def _ask(self, getting: threading.Thread) -> None:
        def ask() -> None:
            getting.join()
            self.ask_again()

        self._asking = threading.Thread(target=ask, daemon=True)
        self._asking.start()

    def ask_again(self) -> None:
        """Read the state; `is_still` says what it is."""
        if isinstance(self._s3, Exception):
            self._found.append(self._s3)
            return
        place = self.stack.place
        try:
            self._found.append(remote.stored_state_version(self._s3, self._state(), place.environment, place.stack))
        except Exception as error:
            self._found.append(error)
