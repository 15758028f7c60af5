"""What the page tells of one environment, read from its store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from inventories import Environment
from jobs.backup import Set, find_sets
from jobs.cost import cache
from jobs.cost.bill import CostError
from jobs.cost.report import CostReport, report_on
from jobs.schedule.slots import slots
from jobs.status.health import Health, environment_health
from jobs.store import Store

TREND = 30  # sets that a size trend is drawn from
STATUS_JOB = "status"


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """A database's backups: the complete sets, oldest first, and how its jobs stand."""

    name: str
    sets: tuple[Set, ...]
    backup: Health | None

    @property
    def newest(self) -> Set | None:
        return self.sets[-1] if self.sets else None

    @property
    def verified(self) -> datetime | None:
        """When a backup was last verified by restoring it."""
        return max((one.verified for one in self.sets if one.verified), default=None)

    @property
    def failed_verification(self) -> bool:
        """Whether the newest verification is one that failed."""
        failed = max((one.failed_verification for one in self.sets if one.failed_verification), default=None)
        return failed is not None and (self.verified is None or failed > self.verified)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the newest sets, oldest first."""
        return tuple(one.size for one in self.sets[-TREND:])


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """One environment; `error` says why nothing could be seen of it."""

    name: str
    zone: tzinfo
    standings: tuple[Health, ...] = ()
    databases: tuple[DatabaseStatus, ...] = ()
    cost: CostReport | None = None
    cost_error: str = ""
    error: str = ""

    @property
    def wrong(self) -> tuple[Health, ...]:
        """What somebody should look at."""
        return tuple(one for one in self.standings if one.state.wrong)

    @property
    def stacks(self) -> tuple[Health, ...]:
        """How each stack stands."""
        return tuple(sorted((one for one in self.standings if one.job == "drift"), key=lambda one: one.subject))


def environment_status(environment: Environment, store: Store, now: datetime) -> EnvironmentStatus:
    """Read all that the page tells of an environment; nobody but the store is asked."""
    found = environment_health(slots(environment), environment, store, now)
    report, error = _cost(environment, store)
    return EnvironmentStatus(
        name=environment.name,
        zone=environment.timezone,
        standings=tuple(one for one in found if one.job != STATUS_JOB or one.state.wrong),
        databases=database_statuses(environment, find_sets(store, environment.name), found),
        cost=report,
        cost_error=error,
    )


def database_statuses(
    environment: Environment, found: Iterable[Set], stand: Sequence[Health]
) -> tuple[DatabaseStatus, ...]:
    """Every database that is in the file with a backup, or has a backup."""
    by_name: dict[str, list[Set]] = defaultdict(list)
    for one in found:
        if one.complete:
            by_name[one.database].append(one)
    backups = {one.subject: one for one in stand if one.job == "backup" and one.subject not in environment.servers}
    named = [name for name, database in environment.databases.items() if database.backup]
    return tuple(
        DatabaseStatus(name, tuple(sorted(by_name[name], key=lambda one: one.started)), backups.get(name))
        for name in sorted({*named, *by_name, *backups})
    )


def _cost(environment: Environment, store: Store) -> tuple[CostReport | None, str]:
    """The last answer that was kept, held against the budget: a page asks nobody for money."""
    settings = environment.cost
    bill = cache.last_bill(environment, store) if settings else None
    if settings is None or bill is None:
        return None, ""
    try:
        return report_on(bill, settings.budget, settings.currency), ""
    except CostError as error:
        return None, str(error)
