"""Can the bill be asked for, and as whom?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Cost, Environment
from jobs.checks.check import Check, CheckResult, ok


def checks(environment: Environment) -> Iterator[Check]:
    """The credentials alone: asking for the bill itself would cost money."""
    if environment.cost is not None:
        yield Check("cost", partial(check_credentials, environment, environment.cost))


def check_credentials(environment: Environment, settings: Cost) -> CheckResult:
    """Whose name is on the question."""
    from jobs.cost.aws import caller_identity

    return ok(
        f"the bill is asked for as {caller_identity(environment, settings)}; crew cost {environment.name} tries it"
    )
