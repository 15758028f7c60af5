"""Check that each database is backed up by schedule, and has a retention policy and a schedule for that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Environment, Keep
from jobs.checks.check import Check, CheckResult, ok, warn


def checks(environment: Environment) -> Iterator[Check]:
    """Yield the checks of each database or server."""
    for name, table in {**environment.databases, **environment.servers}.items():
        yield Check(f"backup {name}", partial(check_backup_line, scheduled=table.backup is not None))
        if table.backup or table.retention:
            yield Check(f"retention {name}", partial(check_policy, table.keep, scheduled=table.retention is not None))


def check_backup_line(*, scheduled: bool) -> CheckResult:
    """Check that backups are scheduled."""
    if scheduled:
        return ok("backups are scheduled")
    return warn("has no `backup` line, so no schedule backs it up", 'add backup = "0 2 * * *"')


def check_policy(keep: Keep, *, scheduled: bool) -> CheckResult:
    """Check that `keep` has rules and that retention is scheduled to apply them."""
    if keep == Keep() and scheduled:
        return warn("keep has no rules, so no set is ever removed", "add rules, for example keep = { daily = 7 }")
    if keep == Keep():
        return warn(
            "no set is ever removed, so the store grows without limit",
            'add keep = { daily = 7 } and retention = "30 6 * * *"',
        )
    if not scheduled:
        return warn("keep has rules, but retention is not scheduled", 'add retention = "30 6 * * *"')
    return ok("keep has rules and retention is scheduled")
