"""Collect the status of one environment from its store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import islice
from urllib.parse import unquote

from inventories import Environment
from jobs.backup import Set, VerificationResult, databases_with_sets, find_newest_sets, is_dated_ahead, trust_of
from jobs.cost import cache
from jobs.cost.bill import CostError
from jobs.cost.report import CostReport, report_on
from jobs.schedule.slots import slots
from jobs.status.gone import is_excluded
from jobs.status.health import Health, HealthState, environment_health
from jobs.store import Store

TREND = 30  # newest sets in the size trend
STATUS_JOB = "status"
_READERS = 8


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """A database's newest trusted sets, oldest first, its last verification, and the health of its backup job."""

    name: str
    sets: tuple[Set, ...]
    backup: Health | None
    last_result: VerificationResult | None = None
    untrusted: int = 0
    """How many of the listed sets are not trusted: the newest ones are listed."""
    copies: tuple[Health, ...] = ()
    """The health of its copies, see copy_name()."""

    @property
    def newest(self) -> Set | None:
        return self.sets[-1] if self.sets else None

    @property
    def verified(self) -> datetime | None:
        """When the last verification succeeded; None if it failed."""
        result = self.last_result
        return result.at if result is not None and not result.failed else None

    @property
    def failed_verification(self) -> bool:
        """Whether the last verification failed."""
        return self.last_result is not None and self.last_result.failed

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of the newest sets, oldest first."""
        return tuple(each.size for each in self.sets)


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """The status of one environment; `error` says why it could not be read."""

    name: str
    zone: tzinfo
    health: tuple[Health, ...] = ()
    databases: tuple[DatabaseStatus, ...] = ()
    cost: CostReport | None = None
    cost_error: str = ""
    error: str = ""

    @property
    def problems(self) -> tuple[Health, ...]:
        """The jobs with a problem."""
        return tuple(each for each in self.health if each.state.is_problem)

    @property
    def stacks(self) -> tuple[Health, ...]:
        """The drift jobs, one per stack."""
        return tuple(sorted((each for each in self.health if each.job == "drift"), key=lambda each: each.subject))


def environment_status(environment: Environment, store: Store, now: datetime) -> EnvironmentStatus:
    """Read the status of an environment from its store; no database or cloud is queried."""
    health = environment_health(slots(environment), environment, store, now)
    report, error = _cost(environment, store)
    return EnvironmentStatus(
        name=environment.name,
        zone=environment.timezone,
        health=tuple(each for each in health if each.job != STATUS_JOB or each.state.is_problem),
        databases=database_statuses(environment, _newest_sets(environment, store, health, now), health),
        cost=report,
        cost_error=error,
    )


def _newest_sets(environment: Environment, store: Store, health: Iterable[Health], now: datetime) -> Iterator[Set]:
    """Yield the newest sets of each database, without those dated in the future, which would hide a missing backup.

    If a database was ever verified, they go back to a verified one.
    """
    verified, trust = (
        {each.subject for each in health if each.job == "verify" and each.succeeded},
        trust_of(environment),
    )

    def newest(database: str) -> Sequence[Set]:
        def enough(complete: Sequence[Set]) -> bool:
            return len(complete) >= TREND and (database not in verified or any(each.verified for each in complete))

        return find_newest_sets(store, environment.name, database, now, enough, trust=trust).sets

    with ThreadPoolExecutor(_READERS) as pool:
        for sets in pool.map(newest, databases_with_sets(environment, store)):
            yield from (each for each in sets if not is_dated_ahead(each, now))


def database_statuses(
    environment: Environment, sets: Iterable[Set], health: Sequence[Health]
) -> tuple[DatabaseStatus, ...]:
    """Return the status of every database that has a scheduled backup or a set."""
    by_name: dict[str, list[Set]] = defaultdict(list)
    for each in sets:
        if each.complete and not _is_silenced(environment, each.database):
            by_name[each.database].append(each)
    backups = {
        each.subject: each
        for each in health
        if each.job == "backup" and each.subject not in environment.servers and each.state is not HealthState.GONE
    }
    copies = [each for each in health if each.job == "copy" and each.state is not HealthState.GONE]
    scheduled = [name for name, database in environment.databases.items() if database.backup]
    return tuple(
        DatabaseStatus(
            name,
            newest_trusted(by_name[name]),
            backups.get(name),
            last_result(by_name[name]),
            sum(each.untrusted is not None for each in by_name[name]),
            tuple(each for each in copies if each.subject == f"{copy_name(each)}.{name}"),
        )
        for name in sorted({*scheduled, *by_name, *backups})
    )


def copy_name(health: Health) -> str:
    """Return the copy in the subject of a job on it."""
    return health.subject.partition(".")[0]


def _is_silenced(environment: Environment, name: str) -> bool:
    """Whether a database of a server is excluded in the file; its sets stay until somebody removes them."""
    server, _, database = name.partition(".")
    return server in environment.servers and is_excluded(environment, server, unquote(database))


def newest_trusted(sets: Iterable[Set]) -> tuple[Set, ...]:
    """Return the newest trusted sets, oldest first, as many as the size trend shows: each signature takes time."""
    newest_first = sorted(sets, key=lambda each: each.started, reverse=True)
    return tuple(islice((each for each in newest_first if each.untrusted is None), TREND))[::-1]


def last_result(sets: Iterable[Set]) -> VerificationResult | None:
    """Return the newest trusted result of verifying a trusted set."""
    results = ((result, each) for each in sets for result in each.results)
    newest_first = sorted(results, key=lambda pair: pair[0], reverse=True)
    return next(
        (result for result, each in newest_first if each.trusts_result(result) and each.untrusted is None), None
    )


def _cost(environment: Environment, store: Store) -> tuple[CostReport | None, str]:
    """Return the report on the cached bill, or an error; the page never queries the bill, which costs money."""
    settings = environment.cost
    bill = cache.last_bill(environment, store) if settings else None
    if settings is None or bill is None:
        return None, ""
    try:
        return report_on(bill, settings.budget, settings.currency), ""
    except CostError as error:
        return None, str(error)
