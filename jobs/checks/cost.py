"""Check the credentials that query the bill."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Cost, Environment
from jobs.checks.check import Check, CheckResult, ok


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check of the credentials only, because querying the bill costs money."""
    if environment.cost is not None:
        yield Check("cost", partial(check_credentials, environment, environment.cost))


def check_credentials(environment: Environment, settings: Cost) -> CheckResult:
    """Check that the credentials work, and report which identity they belong to."""
    from jobs.cost.aws import caller_identity

    identity = caller_identity(environment, settings)
    return ok(f"AWS identity {identity}; crew cost {environment.name} queries the bill")
