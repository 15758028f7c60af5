"""Errors become faults, and a check that hangs delays no other check."""

from __future__ import annotations

import threading

import pytest

from jobs.checks import Check, CheckResult, CheckVerdict, ok, run_checks
from jobs.run import Failed
from jobs.store import Denied


def raising(error: Exception) -> Check:
    def run() -> CheckResult:
        raise error

    return Check("broken", run)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Denied("s3://x: may not write; grant it"), "s3://x: may not write; grant it"),
        (Failed("no pg_dump; install it"), "no pg_dump; install it"),
        (KeyError("colour"), "the check itself failed (KeyError: 'colour'); please report this bug"),
    ],
)
def test_an_error_becomes_a_fault(error: Exception, text: str) -> None:
    ((_, result),) = run_checks([raising(error)])
    assert result.verdict is CheckVerdict.FAULT
    assert str(result) == text


def test_a_hanging_check_is_a_fault_and_delays_no_other() -> None:
    never = threading.Event()
    hanging = [Check(f"hangs {n}", lambda: ok(str(never.wait(60)))) for n in range(9)]
    quick = [Check(f"quick {n}", lambda: ok("here")) for n in range(9)]
    results = {check.name: result for check, result in run_checks([*hanging, *quick], limit=2)}
    never.set()
    assert len(results) == 18
    assert {results[f"quick {n}"].verdict for n in range(9)} == {CheckVerdict.OK}
    assert str(results["hangs 0"]).startswith("no answer within 2 s; ")
