"""The checks of `crew check`: one module per capability yields the checks that an environment needs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module

from inventories import Environment
from jobs.checks.check import Check, CheckResult, CheckVerdict, fault, ok, run_checks, warn

CHECKS = (
    "jobs.checks.store:checks",
    "jobs.checks.encryption:checks",
    "jobs.checks.keys:checks",
    "jobs.checks.databases:checks",
    "jobs.checks.pitr:checks",
    "jobs.checks.rds:checks",
    "jobs.checks.lost_backups:checks",
    "jobs.checks.retention:checks",
    "jobs.checks.stacks:checks",
    "jobs.checks.hosts:checks",
    "jobs.checks.cost:checks",
    "jobs.checks.alerts:checks",
    "jobs.checks.machine:checks",
    "jobs.checks.secrets:checks",
)
"""Functions from an environment to its checks, as "module:attribute". Add a line to register more checks."""


def checks_of(environment: Environment) -> Iterator[Check]:
    """Yield every check that applies to this environment."""
    for reference in CHECKS:
        module, _, attribute = reference.partition(":")
        yield from getattr(import_module(module), attribute)(environment)


__all__ = ["Check", "CheckResult", "CheckVerdict", "checks_of", "fault", "ok", "run_checks", "warn"]
