"""A check, what it finds, and how many are made side by side without one that hangs holding up the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from queue import Empty, SimpleQueue

from inventories import CrewError
from jobs.log import with_log_context

TIME_LIMIT = 30.0
CONCURRENT_CHECKS = 8


class CheckVerdict(StrEnum):
    """What a check comes to: the worst first."""

    FAULT = "fault"
    WARN = "warn"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The verdict and the fact; for what is not in order, what to do."""

    verdict: CheckVerdict
    fact: str
    way_out: str = ""

    def __str__(self) -> str:
        return f"{self.fact}; {self.way_out}" if self.way_out else self.fact


def ok(fact: str) -> CheckResult:
    """All is well, and this is how."""
    return CheckResult(CheckVerdict.OK, fact)


def warn(fact: str, way_out: str = "") -> CheckResult:
    """It works, and somebody should know this."""
    return CheckResult(CheckVerdict.WARN, fact, way_out)


def fault(fact: str, way_out: str = "") -> CheckResult:
    """It can't work like this."""
    return CheckResult(CheckVerdict.FAULT, fact, way_out)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `crew check`: what is looked at, and the look, which may raise what the rooms raise."""

    what: str
    look: Callable[[], CheckResult]


def run_checks(checks: Iterable[Check], limit: float = TIME_LIMIT) -> Iterator[tuple[Check, CheckResult]]:
    """Each check with its finding, as they come; one that takes longer than the limit is a fault by itself."""
    waiting, found = list(checks), SimpleQueue[tuple[int, CheckResult]]()
    order, running = list(enumerate(waiting)), dict[int, float]()
    while order or running:
        while order and len(running) < CONCURRENT_CHECKS:
            at, check = order.pop(0)
            running[at] = time.monotonic() + limit
            _begin(at, check, found)
        at, finding = _next(found, running, limit)
        if running.pop(at, None) is not None:
            yield waiting[at], finding


def _begin(at: int, check: Check, found: SimpleQueue[tuple[int, CheckResult]]) -> None:
    """Look in a thread of its own, which can't keep the program from ending."""
    look = with_log_context(lambda: found.put((at, result_of(check))))
    threading.Thread(target=look, name=f"check {check.what}", daemon=True).start()


def _next(
    found: SimpleQueue[tuple[int, CheckResult]], running: dict[int, float], limit: float
) -> tuple[int, CheckResult]:
    """The next finding, or the fault of the one whose time is up first."""
    first = min(running, key=lambda at: running[at])
    try:
        return found.get(timeout=max(0.0, running[first] - time.monotonic()))
    except Empty:
        return first, fault(f"did not answer within {limit:g} s", "look whether a firewall or a proxy drops it")


def result_of(check: Check) -> CheckResult:
    """What a look finds; what the rooms raise is a fault that explains itself."""
    try:
        return check.look()
    except CrewError as error:
        return fault(str(error))
    except Exception as error:  # one broken check must not hide what the others found
        return fault(f"this check is broken ({type(error).__name__}: {error})", "please report it")
