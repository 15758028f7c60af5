"""Check that the hosts which [hosts] compares accept a login."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from inventories import Environment
from jobs.checks.check import Check, CheckResult, fault, ok
from jobs.format import and_more, plural

SHOWN = 3


def checks(environment: Environment) -> Iterator[Check]:
    """Yield the check of an environment that compares its hosts."""
    if environment.hosts:
        yield Check("hosts", partial(check_logins, environment))


def check_logins(environment: Environment) -> CheckResult:
    """Check that each host accepts a login with the key of the job, by comparing it with an empty deploy."""
    from jobs.hosts.job import compare_with

    with tempfile.TemporaryDirectory(prefix="crew-check-") as folder:
        empty = Path(folder, "empty.py")
        empty.touch()
        comparison = compare_with(environment, empty, subprocess.Popen)
    if comparison.error:
        return fault(comparison.error, "correct the inventory")
    if failed := comparison.failed:
        reasons = and_more([f"{host.name}: {host.error}" for host in failed], SHOWN)
        text = f"{len(failed)} of {plural(len(comparison.hosts), 'host')} cannot be compared ({reasons})"
        return fault(text, "check the network, hosts.ssh_key and hosts.known_hosts")
    return ok(f"{plural(len(comparison.hosts), 'host')} accept{'s' * (len(comparison.hosts) == 1)} a login")
