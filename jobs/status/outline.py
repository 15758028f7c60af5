"""The sentence that matters about an environment, its jobs in groups, and its next runs. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobs.cost import sentences
from jobs.format import and_more, format_duration, format_time, plural
from jobs.run.ticks import next_ticks
from jobs.status.health import Health, HealthState, sentence_of_problem

if TYPE_CHECKING:
    from jobs.schedule.slots import Slot
    from jobs.status.collect import DatabaseStatus, EnvironmentStatus

AHEAD = timedelta(hours=24)
MANY = 4  # problems that say the same and stand together
_NAMES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class JobGroup:
    """All subjects of a job: how many have each state, the oldest last run, and the soonest next one."""

    job: str
    states: tuple[tuple[HealthState, int], ...]
    oldest: datetime | None
    next: datetime | None


def sentence_that_matters(status: EnvironmentStatus, now: datetime) -> str:
    """Return the one sentence about an environment: its worst problem, or what is known to be well."""
    if not status.health and not status.databases:
        return f"No job has run yet. Start with: crew check {status.name}"
    if status.problems:
        return _worst(status, now)
    facts = [*_about_backups(status.databases, now)]
    if status.stacks:
        facts.append(f"no drift in {plural(len(status.stacks), 'stack')}")
    if status.deploys:
        facts.append(f"no drift of hosts from {plural(len(status.deploys), 'deploy')}")
    if status.cost:
        facts.append(f"{sentences.format_percent(status.cost.percent(status.cost.spent))} of the budget is spent")
    text = "; ".join(facts) or "no problems"
    return f"{text[0].upper()}{text[1:]}."


def _worst(status: EnvironmentStatus, now: datetime) -> str:
    group = problem_groups(status.problems)[0]
    worst, others = group[0], len(status.problems) - len(group)
    since = ""
    if worst.since is not None:
        since = f" since {format_time(worst.since, now, status.zone)} ({format_duration(now - worst.since)})"
    more = f" {plural(others, 'more problem')}." if others else ""
    what = title_of(group) if len(group) > 1 else " of ".join(filter(None, (worst.job, worst.subject)))
    return f"{what[0].upper()}{what[1:]}: {worst.state}{since}.{more}"


def _about_backups(databases: Sequence[DatabaseStatus], now: datetime) -> Iterable[str]:
    if not databases:
        return
    newest = [each.newest for each in databases if each.newest]
    verified = [each.verified for each in databases if each.verified]
    if len(newest) < len(databases):
        yield f"{plural(len(databases) - len(newest), 'database')} of {len(databases)} without a backup"
    else:
        age = format_duration(now - min(newest))
        yield f"the newest backup of each of {plural(len(databases), 'database')} is at most {age} old"
    if len(verified) < len(databases):
        yield f"{plural(len(databases) - len(verified), 'database')} without a verified backup"
    else:
        yield f"each was verified within {format_duration(now - min(verified))}"


def last_verifications(databases: Sequence[DatabaseStatus], now: datetime) -> str:
    """Return when backups were last verified, and which were not or failed; nothing without databases."""
    verified = sorted((each.verified, each.name) for each in databases if each.verified)
    failed = [each.name for each in databases if each.failed_verification]
    lacking = [each.name for each in databases if not each.verified and not each.failed_verification]
    ages = [f"{format_duration(now - at)} ago ({name})" for at, name in reversed(verified)]
    facts = [f"Last verified {ages[0]}."] if ages else []
    facts += [f"The oldest verification was {ages[-1]}."] if len(ages) > 1 else []
    facts += [f"Verification failed: {and_more(failed, _NAMES_SHOWN)}."] if failed else []
    facts += [f"Not verified: {and_more(lacking, _NAMES_SHOWN)}."] if lacking else []
    return " ".join(facts)


def problem_groups(problems: Iterable[Health]) -> list[tuple[Health, ...]]:
    """Return the problems in their order; those that say the same about many subjects stand together."""
    alike: dict[tuple[HealthState, str], list[Health]] = defaultdict(list)
    for each in problems:
        alike[each.state, sentence_of_problem(each)].append(each)
    return [
        group
        for of_group in alike.values()
        for group in ([tuple(of_group)] if len(of_group) >= MANY else [(each,) for each in of_group])
    ]


def title_of(group: Sequence[Health]) -> str:
    """Return what a group of problems is about: backup shop; backup of 5; 8 jobs."""
    if len(group) == 1:
        return f"{group[0].job} {group[0].subject}".rstrip()
    return f"{len(group)} jobs" if _of_several_jobs(group) else f"{group[0].job} of {len(group)}"


def names_in(group: Sequence[Health]) -> list[str]:
    """Return the names of what a group is about, with their jobs if there are several."""
    return [f"{each.job} {each.subject}".rstrip() if _of_several_jobs(group) else each.subject for each in group]


def _of_several_jobs(group: Sequence[Health]) -> bool:
    return len({each.job for each in group}) > 1


def job_groups(health: Iterable[Health]) -> list[JobGroup]:
    """Return the jobs, each with its subjects together."""
    by_job: dict[str, list[Health]] = defaultdict(list)
    for each in health:
        by_job[each.job].append(each)
    worst_first = list(HealthState)
    return [
        JobGroup(
            job,
            tuple(sorted(Counter(each.state for each in of_job).items(), key=lambda pair: worst_first.index(pair[0]))),
            min((each.last.ended for each in of_job if each.last), default=None),
            min((each.next for each in of_job if each.next), default=None),
        )
        for job, of_job in sorted(by_job.items())
    ]


@dataclass(frozen=True, slots=True)
class Lane:
    """The next 24 hours of one job: minutes from now, each with its text."""

    job: str
    minutes: tuple[tuple[int, str], ...]
    text: str


def lanes(slots: Iterable[Slot], zone: ZoneInfo, now: datetime) -> tuple[Lane, ...]:
    """Return the runs of the next 24 hours, by job."""
    ticks: dict[str, list[datetime]] = {}
    by_job: dict[str, dict[datetime, list[str]]] = defaultdict(lambda: defaultdict(list))
    for slot in slots:
        if slot.line not in ticks:
            ticks[slot.line] = list(takewhile(lambda tick: tick <= now + AHEAD, next_ticks(slot.line, zone, now)))
        for tick in ticks[slot.line]:
            by_job[slot.job][tick].append(slot.name)
    return tuple(_lane(job, sorted(of_job.items()), zone, now) for job, of_job in by_job.items())


def _lane(job: str, of_job: Sequence[tuple[datetime, list[str]]], zone: ZoneInfo, now: datetime) -> Lane:
    def text(tick: datetime, names: Sequence[str]) -> str:
        of = and_more(sorted(filter(None, names)), _NAMES_SHOWN)
        return f"{tick.astimezone(zone):%H:%M} {job}" + (f" of {of}" if of else "")

    minutes = tuple((round((tick - now).total_seconds() / 60), text(tick, names)) for tick, names in of_job)
    times = and_more([f"{tick.astimezone(zone):%H:%M}" for tick, _ in of_job], _NAMES_SHOWN)
    return Lane(job, minutes, times)
