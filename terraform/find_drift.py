"""Find the drift of a stack. This only reads: it applies nothing, writes no state and takes no lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from terraform import access, drift, remote, trail
from terraform.diagnosis import StateLock
from terraform.drift import DriftFinding, DriftKind
from terraform.errors import ChangeRefused, MissingData, StackError, TemporaryStackError
from terraform.stack import SavedPlan, Stack
from terraform.state import StateVersion, state_contents

TRIES = 2


def find_drift(stack: Stack) -> tuple[DriftFinding, ...]:
    """Return all findings of a stack. One that was never applied and waits for another stack is pending."""
    try:
        return _find_drift(stack)
    except MissingData:
        after = stack.settings.stacks[stack.paths.stack].after
        if not after or state_contents(stack.current_state()):
            raise
        action = f"plan after an apply of {' and '.join(after)}: its data sources find nothing yet"
        return (DriftFinding(DriftKind.PENDING, "the whole stack", "", "", "", action),)


def _find_drift(stack: Stack) -> tuple[DriftFinding, ...]:
    """Return all findings of a stack; raise TemporaryStackError while an apply runs.

    While an apply runs, the bucket holds the old state, so everything that the apply has changed looks like drift.
    Therefore, if there is drift, this function reads the lock and then the state again: an apply that has just
    finished has written a new state.
    """
    watch = StateWatch(stack)
    ignore = stack.settings.drift.ignore if stack.settings.drift else ()
    for _ in range(TRIES):
        with suppress(ChangeRefused), stack.planned(lock=False, meanwhile=watch.prepare) as planned:
            if not watch.still_matches(planned):
                continue
            findings = drift.drift_findings(planned.plan, ignore)
            if not any(finding.kind.is_drift and not finding.ignored for finding in findings):
                return findings
            if lock := _lock_of_apply(stack):
                raise TemporaryStackError(_apply_is_running(stack, lock))
            watch.read_again()
            if watch.still_matches(planned):
                return _with_authors(stack, planned, findings)
    raise TemporaryStackError(
        f"{stack.name}: the state changed during the drift check, {TRIES} times in a row; "
        "try again when no apply is running"
    )


def _with_authors(stack: Stack, planned: SavedPlan, findings: tuple[DriftFinding, ...]) -> tuple[DriftFinding, ...]:
    """Return the findings with who changed each resource, if [drift] who asks for that."""
    if not (stack.settings.drift and stack.settings.drift.who):
        return findings
    return trail.with_authors(
        access.client_of_stack(stack.settings, stack.paths.stack, "cloudtrail"), planned.plan, findings
    )


def _lock_of_apply(stack: Stack) -> StateLock | None:
    """Return the lock of a running apply; None also if the credentials may not read the lock."""
    with suppress(StackError):
        lock = remote.current_lock(stack.state, stack.paths.environment, stack.paths.stack)
        return lock if lock and lock.is_for_change else None
    return None


def _apply_is_running(stack: Stack, lock: StateLock) -> str:
    command = f"crew stacks unlock {stack.paths.environment} {stack.paths.stack}"
    fact = f"an apply is running ({lock.sentence}), so drift cannot be checked"
    return f"{stack.name}: {fact}; retry after it, or if its process has ended, run: {command}"


@dataclass
class StateWatch:
    """Reads the version of the stored state while Terraform makes a plan, in a thread, since both take time."""

    stack: Stack
    _s3: Any = None
    _versions: list[StateVersion | Exception] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def prepare(self) -> Callable[[], object]:
        """Create the S3 client while the plan is made; return the function that then starts to read the state."""
        connect = threading.Thread(target=self._connect, daemon=True)
        connect.start()
        return lambda: self._read_after(connect)

    def still_matches(self, planned: SavedPlan) -> bool:
        """Return whether the stored state is the one that the plan was made from."""
        if self._reader:
            self._reader.join()
        version = self._versions.pop()
        if isinstance(version, Exception):
            raise version
        return version.matches(planned.state)

    def _connect(self) -> None:
        if self._s3 is None:
            try:
                self._s3 = remote.client(self.stack.state, "s3")
            except Exception as error:
                self._s3 = error

    def _read_after(self, connect: threading.Thread) -> None:
        def read() -> None:
            connect.join()
            self.read_again()

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def read_again(self) -> None:
        """Read the version of the state; `still_matches` uses it, or raises the error."""
        if isinstance(self._s3, Exception):
            self._versions.append(self._s3)
            return
        stack = self.stack
        try:
            version = remote.stored_state_version(self._s3, stack.state, stack.paths.environment, stack.paths.stack)
            self._versions.append(version)
        except Exception as error:
            self._versions.append(error)
