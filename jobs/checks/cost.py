"""Can the bill be asked for, and as whom?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Cost, Environment
from jobs.checks.check import Check, Finding, ok


def checks(environment: Environment) -> Iterator[Check]:
    """The credentials alone: asking for the bill itself would cost money."""
    if environment.cost is not None:
        yield Check("cost", partial(asked_as, environment, environment.cost))


def asked_as(environment: Environment, settings: Cost) -> Finding:
    """Whose name is on the question."""
    from jobs.cost.aws import identity

    return ok(f"the bill is asked for as {identity(environment, settings)}; crew cost {environment.name} tries it")
