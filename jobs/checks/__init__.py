"""What `crew check` looks at: each capability offers its checks of an environment, in a module of its own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from inventories import Environment
from jobs.checks.check import Check, CheckResult, CheckVerdict, fault, ok, run_checks, warn

CHECKS = (
    "jobs.checks.store:checks",
    "jobs.checks.encryption:checks",
    "jobs.checks.databases:checks",
    "jobs.checks.retention:checks",
    "jobs.checks.stacks:checks",
    "jobs.checks.cost:checks",
    "jobs.checks.alerts:checks",
    "jobs.checks.machine:checks",
    "jobs.checks.secrets:checks",
)
"""Each a function from an environment to its checks, as "module:attribute"; add a line to add a capability's."""


def checks_of(environment: Environment) -> Iterator[Check]:
    """Everything that there is to look at in this environment."""
    for place in CHECKS:
        module, _, attribute = place.partition(":")
        yield from getattr(import_module(module), attribute)(environment)


__all__ = ["Check", "CheckResult", "CheckVerdict", "checks_of", "fault", "ok", "run_checks", "warn"]
