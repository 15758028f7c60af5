from __future__ import annotations

import pytest

from inventories import Keep
from jobs.checks import Verdict
from jobs.checks.retention import looked_at


@pytest.mark.parametrize(
    ("keep", "on_clock", "verdict", "fact"),
    [
        (Keep(daily=7), True, Verdict.OK, "rules, and a line on the clock"),
        (Keep(daily=7), False, Verdict.WARN, "nothing follows them"),
        (Keep(), True, Verdict.WARN, "nothing is ever removed"),
        (Keep(), False, Verdict.WARN, "never removed"),
    ],
)
def test_rules_want_a_line_and_a_line_wants_rules(keep: Keep, verdict: Verdict, fact: str, *, on_clock: bool) -> None:
    found = looked_at(keep, on_clock=on_clock)
    assert (found.verdict, fact in found.fact) == (verdict, True)
