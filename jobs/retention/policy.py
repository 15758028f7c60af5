"""Which backup sets stay and which go: restic's forget policy, as one pure function that gives its reasons."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, Protocol, TypeVar

from inventories import CrewError, Keep
from inventories.value_types import Span

A_DAY = timedelta(days=1)
UNLIMITED = -1
EARLIEST = datetime.min.replace(tzinfo=UTC)

Period = tuple[int, ...]
PeriodOf = Callable[[datetime], Period]


class ClockBehind(CrewError):
    """The clock can't be right, so nothing is removed by it."""


class CompleteSet(Protocol):
    """What retention looks at in a backup set that is complete."""

    @property
    def id(self) -> str: ...
    @property
    def started(self) -> datetime: ...
    @property
    def sort_key(self) -> tuple[datetime, datetime, str]: ...
    @property
    def tags(self) -> Collection[str]: ...
    @property
    def verified(self) -> datetime | None: ...
    @property
    def failed_verification(self) -> datetime | None: ...
    @property
    def pinned(self) -> bool: ...


S = TypeVar("S", bound=CompleteSet)


@dataclass(frozen=True, slots=True)
class RuleCounter:
    """How many more periods a rule would keep (None: any number), and the one it has filled last."""

    rule: str
    count: int | None
    filled: Period


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """One set, whether it stays, the rules that keep it, and what is left of each counter after it."""

    set: S
    keep: bool
    reasons: tuple[str, ...]
    left: tuple[RuleCounter, ...]


def apply_policy(sets: Iterable[S], policy: Keep, now: datetime) -> list[Decision[S]]:
    """Decide each set, newest first; calendar periods are those of the timezone that `now` is in."""
    newest_first = sorted(sets, key=lambda each: each.sort_key, reverse=True)
    if policy == Keep():
        return [Decision(each, True, ("the policy has no rules",), ()) for each in newest_first]
    spared = _spared(newest_first)
    rules = _rules(policy, _reference(newest_first, now))
    decisions = []
    for place, each in enumerate(newest_first):
        local = each.started.astimezone(now.tzinfo)
        is_oldest = place == len(newest_first) - 1
        filled = [reason for rule in rules if (reason := rule.fill(each.started, local, place, is_oldest))]
        reasons = (*spared.get(each.id, ()), *_tagged(each.tags, policy.tags), *filled)
        decisions.append(Decision(each, bool(reasons), reasons, tuple([rule.left for rule in rules])))
    return decisions


def require_plausible_clock(sets: Iterable[CompleteSet], now: datetime) -> None:
    """A clock more than a day behind the newest set would misjudge all ages: ClockBehind."""
    newest = max((each.started for each in sets), default=now)
    if newest - now > A_DAY:
        raise ClockBehind(
            f"this machine's clock says {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC, more than a day before "
            f"the newest set ({newest.astimezone(UTC):%Y-%m-%d %H:%M} UTC): nothing is removed; set the clock right"
        )


def explain(decision: Decision[S]) -> str:
    """Why a set stays or goes, and what is left of the counters, for a person."""
    if not decision.keep:
        return ", ".join(_why_not(each) for each in decision.left) or "has none of the tags"
    counts = {each.rule: each.count for each in decision.left if each.count is not None}
    rules = [(reason, counts.get(reason.removeprefix("oldest "))) for reason in decision.reasons]
    return ", ".join(reason if count is None else f"{reason} ({count} left)" for reason, count in rules)


def _why_not(left: RuleCounter) -> str:
    if left.count == 0:
        return f"{left.rule}: too old" if "within" in left.rule else f"{left.rule}: 0 left"
    return f"{left.rule}: has {_label(left)}" + ("" if left.count is None else f" ({left.count} left)")


def _label(left: RuleCounter) -> str:
    year, *rest = left.filled
    if left.rule.startswith("weekly"):
        return f"{year}-W{rest[0]:02}"
    day = "-".join(f"{number:02}" for number in (year, *rest[:2]))
    return f"{day} {rest[2]:02}h" if len(rest) > 2 else day


def _spared(newest_first: Sequence[CompleteSet]) -> dict[str, tuple[str, ...]]:
    """What no policy removes, by set."""
    newest = newest_first[:1]
    newest_verified = [each for each in newest_first if _is_verified(each)][:1]
    pinned = [each for each in newest_first if each.pinned]
    spared: dict[str, tuple[str, ...]] = {}
    for why, those in (("newest", newest), ("newest verified", newest_verified), ("pinned", pinned)):
        for each in those:
            spared[each.id] = (*spared.get(each.id, ()), why)
    return spared


def _is_verified(each: CompleteSet) -> bool:
    """Whether its last verification held."""
    return each.verified is not None and (each.failed_verification is None or each.failed_verification <= each.verified)


def _tagged(tags: Collection[str], wanted: Sequence[Sequence[str]]) -> list[str]:
    """A set with all tags of one list is kept by that list."""
    return [f"tagged {' and '.join(names)}" for names in wanted if set(names) <= set(tags)]


def _reference(newest_first: Sequence[CompleteSet], now: datetime) -> datetime | None:
    """What `within` counts back from: the newest set that is not in the future."""
    past = next((each.started for each in newest_first if each.started <= now), None)
    return past and past.astimezone(now.tzinfo)


def subtract_span(moment: datetime, span: Span) -> datetime:
    """A span before a moment: years, months and days by the calendar, overflowing as it does; hours by the clock."""
    months = moment.year * 12 + moment.month - 1 - span.years * 12 - span.months
    if months < 12:
        return EARLIEST
    first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
    try:
        day = first + timedelta(days=moment.day - 1 - span.days)
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
    """One rule with its counter, filled with sets from the newest to the oldest."""

    def __init__(self, name: str, period: PeriodOf | None, count: int | None, since: datetime = EARLIEST) -> None:
        self.left = RuleCounter(name, count, ())
        self._period, self._since = period, since

    def fill(self, started: datetime, local: datetime, place: int, is_oldest: bool) -> str | None:
        """Why this rule keeps the set at this place of the list, if it does."""
        name, count, filled = self.left.rule, self.left.count, self.left.filled
        if count == 0:
            return None
        if started <= self._since:
            self.left = RuleCounter(name, 0, filled)
            return None
        period = self._period(local) if self._period else (place,)
        if period == filled and not is_oldest:
            return None
        self.left = RuleCounter(name, count and count - 1, period)
        return name if period != filled else f"oldest {name}"


def _rules(policy: Keep, newest: datetime | None) -> list[_Rule]:
    """The policy's rules with full counters; `within` has none, and ends with the time it goes back."""
    counted = [
        _Rule(name, period, None if count == UNLIMITED else count)
        for name, period in PERIODS.items()
        if (count := getattr(policy, name))
    ]
    within = [
        _Rule(
            f"{name} within {span}".removeprefix("last "),
            period,
            None,
            subtract_span(newest, span) if newest else EARLIEST,
        )
        for name, period in PERIODS.items()
        if (span := getattr(policy, f"within_{name}".removesuffix("_last")))
    ]
    return counted + within
