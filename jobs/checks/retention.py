"""Will retention do what is hoped for?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Environment, Keep
from jobs.checks.check import Check, CheckResult, ok, warn


def checks(environment: Environment) -> Iterator[Check]:
    """One for each database or server that is backed up by the clock."""
    for name, table in {**environment.databases, **environment.servers}.items():
        if table.backup or table.retention:
            yield Check(f"retention {name}", partial(check_policy, table.keep, on_clock=table.retention is not None))


def check_policy(keep: Keep, *, on_clock: bool) -> CheckResult:
    """Whether there are rules, and anything that follows them."""
    if keep == Keep() and on_clock:
        return warn("keep has no rules, so nothing is ever removed", "add some, as keep = { daily = 7 }")
    if keep == Keep():
        return warn(
            "sets are never removed", 'add keep = { daily = 7 } and retention = "30 6 * * *", or watch the bill'
        )
    if not on_clock:
        return warn("keep has rules and nothing follows them by the clock", 'add retention = "30 6 * * *"')
    return ok("rules, and a line on the clock")
