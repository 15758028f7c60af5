"""Check the credentials that query the bill, or that exports can be read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from inventories import Cost, Environment
from jobs.checks.check import Check, CheckResult, fault, ok
from jobs.format import plural


def checks(environment: Environment) -> Iterator[Check]:
    """Yield a check of the credentials only for AWS, because querying the bill costs money."""
    if environment.cost is not None:
        check = {"aws": check_credentials, "focus": check_exports, "opencost": check_cluster}[environment.cost.source]
        yield Check("cost", partial(check, environment, environment.cost))


def check_exports(environment: Environment, settings: Cost) -> CheckResult:
    """Check that there are current exports, without reading them."""
    from jobs.cost.export_files import export_files, newest_deliveries
    from jobs.cost.focus import LATE, first_day
    from jobs.run.documents import utc_now

    now = utc_now()
    files = newest_deliveries(export_files(environment, settings), first_day(now))
    newest = max((file.modified for file in files), default=None)
    if newest is None:
        return fault(f"no FOCUS export in {settings.exports}", "check cost.exports, and that the provider writes there")
    if now - newest > LATE:
        return fault(f"the newest export in {settings.exports} is of {newest:%Y-%m-%d}", "check the export's status")
    return ok(f"{len(files)} exports in {settings.exports}, the newest of {newest:%Y-%m-%d %H:%M} UTC")


def check_cluster(environment: Environment, settings: Cost) -> CheckResult:
    """Check that OpenCost answers with current costs."""
    from jobs.cost.opencost import fetch_cluster_bill
    from jobs.run.documents import utc_now

    bill = fetch_cluster_bill(environment, utc_now())
    days = {charge.day for charge in bill.charges}
    return ok(f"OpenCost at {settings.api} has the cost of {plural(len(days), 'day')}, the first {min(days)}")


def check_credentials(environment: Environment, settings: Cost) -> CheckResult:
    """Check that the credentials work, and report which identity they belong to."""
    from jobs.cost.aws import caller_identity

    identity = caller_identity(environment, settings)
    return ok(f"AWS identity {identity}; crew cost {environment.name} queries the bill")
