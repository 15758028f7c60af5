"""Collect the status of one environment from its store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta, tzinfo
from functools import lru_cache, partial
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from inventories import Environment
from jobs.backup import Set, VerificationResult, databases_with_sets, find_newest_sets, is_dated_ahead, trust_of
from jobs.cost import cache
from jobs.cost.bill import CostError
from jobs.cost.report import CostReport, report_on
from jobs.run.documents import key_time
from jobs.schedule.slots import Slot, slots
from jobs.status.days import Mark, due_days, marks
from jobs.status.gone import is_excluded
from jobs.status.health import Health, HealthState, by_severity, environment_health
from jobs.status.history import Days, read_history
from jobs.status.outline import Lane, lanes
from jobs.status.stanzas import StanzaStatus, stanza_statuses
from jobs.store import Store

MOST_LISTED = 18
"""With more databases, their sets are not listed one by one: a page needs at most 50 requests."""
STATUS_JOB = "status"
_READERS = 8


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """A database's newest trusted set, its last verification, the health of its jobs, and its last days."""

    name: str
    newest_set: Set | None
    backup: Health | None
    last_result: VerificationResult | None = None
    untrusted: int = 0
    """How many of the listed sets are not trusted: the newest ones are listed."""
    copies: tuple[Health, ...] = ()
    """The health of its copies, see copy_name()."""
    verification: Health | None = None
    days: Days = field(default_factory=dict)
    due: frozenset[date] = frozenset()
    """The days on which its schedule has a backup."""
    listed: bool = True
    """Whether its sets were listed. If not, the runs of its jobs say all that is shown."""

    @property
    def newest(self) -> datetime | None:
        """When the newest backup began: the data that a restore brings back is as old."""
        if self.listed:
            return self.newest_set.started if self.newest_set else None
        newest = max((runs.run for runs in self.days.values()), default="")  # they begin with their time
        return key_time(newest) if newest else None

    @property
    def newest_size(self) -> int | None:
        """The stored size of the newest backup."""
        if self.listed:
            return self.newest_set.size if self.newest_set else None
        return next((runs.stored_bytes for _, runs in sorted(self.days.items(), reverse=True) if runs.run), None)

    @property
    def verified(self) -> datetime | None:
        """When the last verification succeeded; None if it failed."""
        if not self.listed:
            return self.verification.succeeded if self.verification and not self.failed_verification else None
        result = self.last_result
        return result.at if result is not None and not result.failed else None

    @property
    def failed_verification(self) -> bool:
        """Whether the last verification failed. One that was stopped says nothing about the set."""
        if not self.listed:
            health = self.verification
            if health is None or health.state not in (HealthState.FAILED, HealthState.FINDING):
                return False
            last = health.last
            return last is None or not last.stopped or health.since != last.ended  # it had failed before
        return self.last_result is not None and self.last_result.failed

    @property
    def problem(self) -> Health | None:
        """The worst problem of its backups, verifications and copies."""
        return next(iter(by_severity(each for each in self._jobs if each.state.is_problem)), None)

    @property
    def _jobs(self) -> list[Health]:
        return [each for each in (self.backup, self.verification, *self.copies) if each]

    @property
    def recovery_time(self) -> timedelta | None:
        """How long the last verification restored; None if it failed or measured nothing."""
        seconds = self.verification.figures.get("seconds") if self.verification else None
        return timedelta(seconds=seconds) if isinstance(seconds, int | float) and self.verified else None


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
    lanes: tuple[Lane, ...] = ()
    stanzas: tuple[StanzaStatus, ...] = ()

    @property
    def problems(self) -> tuple[Health, ...]:
        """The jobs with a problem."""
        return tuple(each for each in self.health if each.state.is_problem)

    @property
    def stacks(self) -> tuple[Health, ...]:
        """The drift jobs, one per stack."""
        return self._by_subject("drift")

    @property
    def deploys(self) -> tuple[Health, ...]:
        """The jobs that compare hosts, one per deploy."""
        return self._by_subject("hosts")

    def _by_subject(self, job: str) -> tuple[Health, ...]:
        return tuple(sorted((each for each in self.health if each.job == job), key=lambda each: each.subject))

    @property
    def unchecked(self) -> int:
        """How many databases have sets that were not looked for in the store."""
        return sum(not each.set_checked for each in self.health)


def environment_status(environment: Environment, store: Store, now: datetime) -> EnvironmentStatus:
    """Read the status of an environment from its store; no database or cloud is queried."""
    stored = databases_with_sets(environment, store)
    lists_all = len(stored) <= MOST_LISTED
    of_file = slots(environment)
    health = environment_health(of_file, environment, store, now, few_requests=not lists_all)
    sets = _newest_sets(environment, store, health, stored, now) if lists_all else iter(())
    databases = database_statuses(environment, sets, health, listed=lists_all, stored=stored)
    report, error = _cost(environment, store)
    return EnvironmentStatus(
        name=environment.name,
        zone=environment.timezone,
        health=tuple(each for each in health if each.job != STATUS_JOB or each.state.is_problem),
        databases=with_days(databases, of_file, environment, read_history(environment, store, health, now), now),
        cost=report,
        cost_error=error,
        stanzas=stanza_statuses(environment, health),
        lanes=lanes((slot for slot in of_file if slot.job != STATUS_JOB), environment.timezone, now),
    )


def database_marks(environment: Environment, store: Store, now: datetime) -> dict[str, list[Mark]]:
    """Return the mark of each of the last 90 days of each database, oldest first."""
    of_file = slots(environment)
    health = environment_health(of_file, environment, store, now, few_requests=True)
    history, today = read_history(environment, store, health, now), now.astimezone(environment.timezone).date()
    databases = database_statuses(environment, (), health, listed=False, stored=history)
    return {
        each.name: marks(each.days, each.due, today)
        for each in with_days(databases, of_file, environment, history, now)
    }


def with_days(
    databases: Sequence[DatabaseStatus],
    of_file: Sequence[Slot],
    environment: Environment,
    history: Mapping[str, Days],
    now: datetime,
) -> tuple[DatabaseStatus, ...]:
    """Return the databases with their last days."""
    due = lru_cache(maxsize=None)(partial(due_days, zone=environment.timezone, now=now))

    def with_own(database: DatabaseStatus) -> DatabaseStatus:
        line = next((slot.line for slot in of_file if slot.job == "backup" and slot.owns(database.name)), None)
        days, health = history.get(database.name, {}), database.backup
        began = health.first if health is not None else None
        return replace(database, days=days, due=due(line, first_run=began and _midnight(began, environment.timezone)))

    return tuple(map(with_own, databases))


def _midnight(at: datetime, zone: ZoneInfo) -> datetime:
    """Return the end of a day: the day of the first backup, often by hand, is not a day without one."""
    return datetime.combine(at.astimezone(zone).date() + timedelta(days=1), time(), zone)


def _newest_sets(
    environment: Environment, store: Store, health: Iterable[Health], stored: Iterable[str], now: datetime
) -> Iterator[Set]:
    """Yield the newest sets of each database, without those dated in the future, which would hide a missing backup.

    If a database was ever verified, they go back to a verified one.
    """
    verified, trust = (
        {each.subject for each in health if each.job == "verify" and each.succeeded},
        trust_of(environment),
    )

    def newest(database: str) -> Sequence[Set]:
        def enough(complete: Sequence[Set]) -> bool:
            return bool(complete) and (database not in verified or any(each.verified for each in complete))

        return find_newest_sets(store, environment.name, database, now, enough, trust=trust).sets

    with ThreadPoolExecutor(_READERS) as pool:
        for sets in pool.map(newest, stored):
            yield from (each for each in sets if not is_dated_ahead(each, now))


def database_statuses(
    environment: Environment,
    sets: Iterable[Set],
    health: Sequence[Health],
    *,
    listed: bool = True,
    stored: Iterable[str] = (),
) -> tuple[DatabaseStatus, ...]:
    """Return the status of every database that has a scheduled backup or a set."""
    by_name: dict[str, list[Set]] = defaultdict(list)
    for each in sets:
        if each.complete and not _is_silenced(environment, each.database):
            by_name[each.database].append(each)
    here = [each for each in health if each.state is not HealthState.GONE]
    backups = {each.subject: each for each in here if each.job == "backup" and each.subject not in environment.servers}
    verifications = {each.subject: each for each in here if each.job == "verify"}
    copies = [each for each in here if each.job == "copy"]
    scheduled = [name for name, database in environment.databases.items() if database.backup]
    unlisted = () if listed else (name for name in stored if not _is_silenced(environment, name))
    return tuple(
        DatabaseStatus(
            name,
            newest_trusted(by_name[name]),
            backups.get(name),
            last_result(by_name[name]),
            sum(each.untrusted is not None for each in by_name[name]),
            tuple(each for each in copies if each.subject == f"{copy_name(each)}.{name}"),
            verifications.get(name),
            listed=listed,
        )
        for name in sorted({*scheduled, *by_name, *backups, *unlisted})
    )


def copy_name(health: Health) -> str:
    """Return the copy in the subject of a job on it."""
    return health.subject.partition(".")[0]


def _is_silenced(environment: Environment, name: str) -> bool:
    """Whether a database of a server is excluded in the file; its sets stay until somebody removes them."""
    server, _, database = name.partition(".")
    return server in environment.servers and is_excluded(environment, server, unquote(database))


def newest_trusted(sets: Iterable[Set]) -> Set | None:
    """Return the newest trusted set. Each signature takes time, so none older is checked."""
    newest_first = sorted(sets, key=lambda each: each.started, reverse=True)
    return next((each for each in newest_first if each.untrusted is None), None)


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
        return report_on(bill, settings), ""
    except CostError as error:
        return None, str(error)
