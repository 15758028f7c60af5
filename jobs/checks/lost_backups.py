"""Check that the backup set of each successful backup is in the store."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from inventories import Environment
from jobs.checks.check import Check, CheckResult, fault, ok
from jobs.format import and_more
from jobs.store import Store, StoreOptions, open_store, require_mark


def checks(environment: Environment) -> Iterator[Check]:
    """Yield one check for all databases of an environment that has any."""
    if environment.store is not None and (environment.databases or environment.servers):
        yield Check("backups", partial(_check, environment, environment.store))


def _check(environment: Environment, settings: StoreOptions) -> CheckResult:
    store = open_store(settings)
    require_mark(store, environment.name)
    return check_backups_exist(environment, store, datetime.now(UTC))


def check_backups_exist(environment: Environment, store: Store, now: datetime) -> CheckResult:
    """Check that the newest successful backup of each database left a set that is still there and trusted."""
    from jobs.schedule.slots import slots
    from jobs.status.health import HealthState, environment_health

    health = environment_health(slots(environment), environment, store, now)
    lost = sorted(each.subject for each in health if each.state is HealthState.LOST)
    if lost:
        return fault(
            f"the newest backup of {and_more(lost, 3)} is gone from the store, or not trusted",
            f"see crew status {environment.name}, and find out what changed the store",
        )
    return ok("no backup that succeeded is missing in the store")
