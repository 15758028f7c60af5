"""Decide which backup sets to keep, with restic's forget policy, as one pure function that gives its reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Generic, NamedTuple, Protocol, TypeVar

from inventories import CrewError, Keep
from inventories.value_types import Span

A_DAY = timedelta(days=1)
UNLIMITED = -1
EARLIEST = datetime.min.replace(tzinfo=UTC)

Period = tuple[int, ...]
PeriodOf = Callable[[datetime], Period]


class ClockBehind(CrewError):
    """The clock is wrong, so nothing is removed."""


class CompleteSet(Protocol):
    """The properties of a complete backup set that retention uses."""

    @property
    def id(self) -> str: ...
    @property
    def started(self) -> datetime: ...
    @property
    def sort_key(self) -> tuple[datetime, datetime, str]: ...
    @property
    def tags(self) -> Collection[str]: ...
    @property
    def untrusted(self) -> str | None:
        """Why the set is not trusted. To find out takes time, so the policy asks only where it matters."""
        ...

    @property
    def is_verified(self) -> bool: ...
    @property
    def has_failed(self) -> bool: ...
    @property
    def pinned(self) -> bool: ...


S = TypeVar("S", bound=CompleteSet)


@dataclass(frozen=True, slots=True)
class RuleCounter:
    """How many more periods a rule keeps (None: no limit), and the last period for which it kept a set.

    `passed_over` is the period of this set if its verification failed and the rule prefers another set.
    """

    rule: str
    remaining: int | None
    period: Period
    passed_over: Period = ()


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """A set, whether to keep it, the rules that keep it, and each rule's counter afterwards."""

    set: S
    keep: bool
    reasons: tuple[str, ...]
    counters: tuple[RuleCounter, ...]


def apply_policy(sets: Iterable[S], policy: Keep, now: datetime) -> list[Decision[S]]:
    """Return a decision for each set, newest first; calendar periods are in the timezone of `now`.

    A set that is not trusted fills no period. It is kept as long as a rule would keep it if it were trusted, because
    its key can have been removed from `trust` by mistake.
    """
    newest_first = sorted(sets, key=lambda each: each.sort_key, reverse=True)
    if policy == Keep():
        return [Decision(each, True, ("policy is empty",), ()) for each in newest_first]
    protected = _protected(newest_first)
    candidates = _candidates(newest_first, now)
    any_failed = any(each.has_failed for each in candidates)  # only failed sets ask for alternatives
    alternatives = [each for each in candidates if each.is_alternative] if any_failed else []
    rules = _rules(policy, _reference(newest_first, now), alternatives)
    decisions, counters = [], tuple([rule.counter for rule in rules])
    for each, candidate in zip(newest_first, candidates, strict=True):
        from_rules = [reason for rule in rules if (reason := rule.keep(candidate))]
        if from_rules and each.untrusted is not None:
            from_rules = [f"not counted, because {each.untrusted}"]
            for rule, counter in zip(rules, counters, strict=True):
                rule.counter = counter
        now_left = tuple([rule.counter for rule in rules])
        counters = counters if now_left == counters else now_left  # sets share equal counters to save memory
        reasons = (*protected.get(each.id, ()), *_matching_tags(each.tags, policy.tags), *from_rules)
        decisions.append(Decision(each, bool(reasons), reasons, counters))
    return decisions


class _Candidate(NamedTuple):
    """A set as the rules see it: its number in the list, and its start as it is and in the timezone of the policy."""

    number: int
    started: datetime
    local: datetime
    is_oldest: bool
    has_failed: bool
    is_alternative: bool
    """Whether it can take the place of a failed set. Without failed sets it is not known whether it is trusted."""
    older_alternatives: int


def _candidates(newest_first: Sequence[CompleteSet], now: datetime) -> list[_Candidate]:
    """Return the sets as the rules see them.

    The oldest one is the oldest trusted one, if possible one that has not failed verification.
    """
    failed = [each.has_failed for each in newest_first]
    check = any(failed)
    fit = [not has and not (check and each.untrusted) for each, has in zip(newest_first, failed, strict=True)]
    oldest_first = sorted(range(len(failed)), key=lambda number: (failed[number], -number))
    oldest = next((number for number in oldest_first if newest_first[number].untrusted is None), None)
    older = fit.count(True)
    candidates = []
    for number, each in enumerate(newest_first):
        older -= fit[number]
        local, is_oldest = each.started.astimezone(now.tzinfo), number == oldest
        candidates.append(_Candidate(number, each.started, local, is_oldest, failed[number], fit[number], older))
    return candidates


def require_plausible_clock(sets: Iterable[CompleteSet], now: datetime) -> None:
    """Raise ClockBehind if the clock is more than a day behind the newest set, because all ages would be wrong."""
    newest = max((each.started for each in sets), default=now)
    if newest - now > A_DAY:
        raise ClockBehind(
            f"this machine's clock shows {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, more than a day before "
            f"the newest set ({newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC), so nothing is removed; correct the clock"
        )


def explain(decision: Decision[S]) -> str:
    """Return why a set is kept or removed, and how many periods each rule has left, for people."""
    if not decision.keep and decision.reasons:
        return ", ".join(decision.reasons)
    if not decision.keep:
        reasons = ", ".join(_why_not(counter) for counter in decision.counters) or "no matching tags"
        return f"verification failed, {reasons}" if decision.set.has_failed else reasons
    counts = {each.rule: each.remaining for each in decision.counters if each.remaining is not None}
    rules = [(reason, counts.get(reason.removeprefix("oldest "))) for reason in decision.reasons]
    return ", ".join(reason if count is None else f"{reason} ({count} left)" for reason, count in rules)


def _why_not(counter: RuleCounter) -> str:
    if counter.remaining == 0:
        return f"{counter.rule}: too old" if "within" in counter.rule else f"{counter.rule}: 0 left"
    remaining = "" if counter.remaining is None else f" ({counter.remaining} left)"
    if counter.passed_over:
        others = f"another set of {_label(counter)} has" if counter.rule != "last" else "older sets have"
        return f"{counter.rule}: {others} not failed{remaining}"
    return f"{counter.rule}: newer set kept for {_label(counter)}{remaining}"


def _label(counter: RuleCounter) -> str:
    year, *rest = counter.passed_over or counter.period
    if counter.rule.startswith("weekly"):
        return f"{year}-W{rest[0]:02}"
    day = "-".join(f"{number:02}" for number in (year, *rest[:2]))
    return f"{day} {rest[2]:02}h" if len(rest) > 2 else day


def _protected(newest_first: Sequence[CompleteSet]) -> dict[str, tuple[str, ...]]:
    """Return the reasons for which sets are kept under any policy, by set."""
    newest = _first_trusted(newest_first)
    newest_not_failed = _first_trusted(each for each in newest_first if not each.has_failed)
    newest_verified = _first_trusted(each for each in newest_first if each.is_verified)
    pinned = [each for each in newest_first if each.pinned]
    reasons: dict[str, tuple[str, ...]] = {}
    for reason, kept in (
        ("newest", newest),
        ("newest that has not failed", newest_not_failed if newest_not_failed != newest else []),
        ("newest verified", newest_verified),
        ("pinned", pinned),
    ):
        for each in kept:
            reasons[each.id] = (*reasons.get(each.id, ()), reason)
    return reasons


def _first_trusted(sets: Iterable[CompleteSet]) -> list[CompleteSet]:
    """Return the first set that is trusted, if there is one."""
    return list(islice((each for each in sets if each.untrusted is None), 1))


def _matching_tags(tags: Collection[str], rules: Sequence[Sequence[str]]) -> list[str]:
    """Return a reason for each list of tags that the set has completely."""
    return [f"has tags {', '.join(names)}" for names in rules if set(names) <= set(tags)]


def _reference(newest_first: Sequence[CompleteSet], now: datetime) -> datetime | None:
    """Return the time from which `within` counts back: the start of the newest trusted set of the past."""
    past = next((each.started for each in newest_first if each.started <= now and each.untrusted is None), None)
    return past and past.astimezone(now.tzinfo)


def subtract_span(time: datetime, span: Span) -> datetime:
    """Subtract years, months and days by the calendar (March 31 less a month is March 3), and hours of elapsed time."""
    months = time.year * 12 + time.month - 1 - span.years * 12 - span.months
    if months < 12:
        return EARLIEST
    first = time.replace(year=months // 12, month=months % 12 + 1, day=1)
    try:
        day = first + timedelta(days=time.day - 1 - span.days)
        return day.astimezone(UTC) - timedelta(hours=span.hours)
    except OverflowError:
        return EARLIEST


PERIODS: dict[str, PeriodOf | None] = {
    "last": None,
    "hourly": lambda at: (at.year, at.month, at.day, at.hour),
    "daily": lambda at: (at.year, at.month, at.day),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: (at.year,),
}


class _Rule:
    """A rule and its counter; sets are offered from the newest to the oldest.

    A set whose verification failed fills no period that has another set. Without periods (`last`), it fills only a
    place that older sets do not need.
    """

    def __init__(
        self,
        name: str,
        period_of: PeriodOf | None,
        count: int | None,
        alternatives: Iterable[_Candidate],
        since: datetime = EARLIEST,
    ) -> None:
        self.counter = RuleCounter(name, count, ())
        self._period_of, self._since = period_of, since
        self._alternatives = {self._period(each) for each in alternatives if each.started > since}

    def keep(self, candidate: _Candidate) -> str | None:
        """Return the reason if this rule keeps the set, and count it."""
        counter = self.counter
        name, remaining, last_period = counter.rule, counter.remaining, counter.period
        if remaining == 0:
            return None
        if candidate.started <= self._since:
            self.counter = RuleCounter(name, 0, last_period)
            return None
        period = self._period(candidate)
        if candidate.has_failed and self._has_alternative(candidate, period):
            self.counter = RuleCounter(name, remaining, last_period, passed_over=period)
            return None
        if period == last_period and not candidate.is_oldest:
            self.counter = RuleCounter(name, remaining, period) if counter.passed_over else counter
            return None
        self.counter = RuleCounter(name, remaining and remaining - 1, period)
        return name if period != last_period else f"oldest {name}"

    def _period(self, candidate: _Candidate) -> Period:
        return self._period_of(candidate.local) if self._period_of else (candidate.number,)

    def _has_alternative(self, failed: _Candidate, period: Period) -> bool:
        """Whether a set that has not failed can take the place of a failed one."""
        if self._period_of:
            return period in self._alternatives
        return self.counter.remaining is not None and self.counter.remaining <= failed.older_alternatives


def _rules(policy: Keep, newest: datetime | None, alternatives: Sequence[_Candidate]) -> list[_Rule]:
    """Return the policy's rules with full counters; `within` rules have no counter but an earliest time."""
    counted = [
        _Rule(name, period, None if count == UNLIMITED else count, alternatives)
        for name, period in PERIODS.items()
        if (count := getattr(policy, name))
    ]
    within = [
        _Rule(
            f"{name} within {span}".removeprefix("last "),
            period,
            None,
            alternatives,
            subtract_span(newest, span) if newest else EARLIEST,
        )
        for name, period in PERIODS.items()
        if (span := getattr(policy, f"within_{name}".removesuffix("_last")))
    ]
    return counted + within
