from __future__ import annotations

import pytest

from inventories import Keep
from jobs.checks import CheckVerdict
from jobs.checks.retention import check_policy


@pytest.mark.parametrize(
    ("keep", "on_clock", "verdict", "fact"),
    [
        (Keep(daily=7), True, CheckVerdict.OK, "rules, and a line on the clock"),
        (Keep(daily=7), False, CheckVerdict.WARN, "nothing follows them"),
        (Keep(), True, CheckVerdict.WARN, "nothing is ever removed"),
        (Keep(), False, CheckVerdict.WARN, "never removed"),
    ],
)
def test_rules_want_a_line_and_a_line_wants_rules(
    keep: Keep, verdict: CheckVerdict, fact: str, *, on_clock: bool
) -> None:
    found = check_policy(keep, on_clock=on_clock)
    assert (found.verdict, fact in found.fact) == (verdict, True)
