"""A check, its result, and a runner that makes checks concurrently, so that a hanging check delays no other."""

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
    """The verdict of a check, worst first."""

    FAULT = "fault"
    WARN = "warn"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A verdict and the fact behind it; a fault or warning also says what to do."""

    verdict: CheckVerdict
    fact: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.fact}; {self.remedy}" if self.remedy else self.fact


def ok(fact: str) -> CheckResult:
    """Return the result of a check that passed."""
    return CheckResult(CheckVerdict.OK, fact)


def warn(fact: str, remedy: str = "") -> CheckResult:
    """Return a warning: jobs work, but the user should know this."""
    return CheckResult(CheckVerdict.WARN, fact, remedy)


def fault(fact: str, remedy: str = "") -> CheckResult:
    """Return a fault: jobs fail until it is repaired."""
    return CheckResult(CheckVerdict.FAULT, fact, remedy)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `crew check`: its name and the function that makes it, which can raise CrewError."""

    name: str
    run: Callable[[], CheckResult]


def run_checks(checks: Iterable[Check], limit: float = TIME_LIMIT) -> Iterator[tuple[Check, CheckResult]]:
    """Yield each check with its result as it completes; a check that exceeds the limit becomes a fault."""
    numbered, results = list(checks), SimpleQueue[tuple[int, CheckResult]]()
    waiting, deadlines = list(enumerate(numbered)), dict[int, float]()
    while waiting or deadlines:
        while waiting and len(deadlines) < CONCURRENT_CHECKS:
            number, check = waiting.pop(0)
            deadlines[number] = time.monotonic() + limit
            _start(number, check, results)
        number, result = _next_result(results, deadlines, limit)
        if deadlines.pop(number, None) is not None:
            yield numbered[number], result


def _start(number: int, check: Check, results: SimpleQueue[tuple[int, CheckResult]]) -> None:
    """Make the check in a daemon thread, so that it cannot keep the process alive."""
    target = with_log_context(lambda: results.put((number, result_of(check))))
    threading.Thread(target=target, name=f"check {check.name}", daemon=True).start()


def _next_result(
    results: SimpleQueue[tuple[int, CheckResult]], deadlines: dict[int, float], limit: float
) -> tuple[int, CheckResult]:
    """Return the next result, or a fault for the check with the earliest deadline once that has passed."""
    earliest = min(deadlines, key=lambda number: deadlines[number])
    try:
        return results.get(timeout=max(0.0, deadlines[earliest] - time.monotonic()))
    except Empty:
        return earliest, fault(
            f"no answer within {limit:g} s", "check for a firewall or proxy that drops the connection"
        )


def result_of(check: Check) -> CheckResult:
    """Run a check; an error that it raises becomes a fault."""
    try:
        return check.run()
    except CrewError as error:
        return fault(error.on_one_line)
    except Exception as error:  # one broken check must not hide the results of the others
        return fault(f"the check itself failed ({type(error).__name__}: {error})", "please report this bug")
