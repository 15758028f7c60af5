"""Find services whose cost rose to a new level, since when, and what was added. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from statistics import median

from jobs.cost.bill import Bill, ChargeKind, DayOfUsage

A_DAY = timedelta(days=1)
NEWS_DAYS = 14  # a higher level is news for so many days; then it is the usual one
USUAL_DAYS = 14  # days before the rise that it is compared with: two of each weekday
LEAST_DAYS = 2  # one expensive day alone is an unusual day, not a new level
DEVIATIONS = Decimal("5.93")  # median deviations that equal four standard deviations: 4 * 1.4826
MAIN_CAUSES = 2
SHARE_OF_CAUSE = Decimal("0.2")  # a smaller part of the rise is not named

GROWTH_LOOKBACK = A_DAY * (NEWS_DAYS + USUAL_DAYS)
"""How long before today usage must be known."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A kind of usage that rose; `added` if there was none before."""

    what: str
    added: bool
    owner: str


@dataclass(frozen=True, slots=True)
class Growth:
    """A service that costs more since a day, and by how much in total until now."""

    service: str
    since: date
    amount: Decimal
    causes: tuple[Cause, ...] = ()


def growths(bill: Bill, floor: Decimal) -> tuple[Growth, ...]:
    """Return the services that grew by at least `floor`, most first."""
    by_service: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for charge in bill.charges:
        if charge.kind is ChargeKind.USE:
            by_service[charge.service][charge.day] += charge.amount
    days = [day for amounts in by_service.values() for day in amounts]
    if not days:
        return ()
    # Providers still add to the last day that has charges, and today is not over.
    last = min(bill.today - A_DAY, max(days))
    found = []
    for service, amounts in by_service.items():
        since = _new_level_since(amounts, min(days), last - A_DAY, floor / 10)
        if since:
            rise = _excess(amounts, since, last)
            amount = sum((max(Decimal(), excess) for excess in rise), Decimal())
            if amount >= floor:
                found.append(Growth(service, since, amount, _causes(bill.usage, service, since, last - A_DAY)))
    return tuple(sorted(found, key=lambda growth: (-growth.amount, growth.service)))


def _new_level_since(amounts: Mapping[date, Decimal], began: date, settled: date, least: Decimal) -> date | None:
    """Return the first day from which on each day until `settled` is well above the usual amount."""
    for back in range(NEWS_DAYS, LEAST_DAYS - 1, -1):
        since = settled - A_DAY * (back - 1)
        before = _amounts(amounts, since - A_DAY * USUAL_DAYS, since - A_DAY)
        if since - A_DAY * USUAL_DAYS < began:
            continue
        usual = median(before)
        tolerance = max(least, DEVIATIONS * median(abs(amount - usual) for amount in before))
        began_earlier = before[-1] - max(usual, before[-8]) > tolerance  # -8: the same weekday
        if not began_earlier and all(excess > tolerance for excess in _excess(amounts, since, settled)):
            return since
    return None


def _excess(amounts: Mapping[date, Decimal], since: date, last: date) -> list[Decimal]:
    """Return by how much each day is above the usual amount, which can be higher on some weekdays."""
    before = _amounts(amounts, since - A_DAY * USUAL_DAYS, since - A_DAY)
    usual = median(before)
    return [
        amount - max(usual, min(before[number % 7], before[number % 7 + 7]))
        for number, amount in enumerate(_amounts(amounts, since, last))
    ]


def _amounts(amounts: Mapping[date, Decimal], first: date, last: date) -> list[Decimal]:
    return [amounts.get(first + A_DAY * number, Decimal()) for number in range((last - first).days + 1)]


def _causes(usage: Iterable[DayOfUsage], service: str, since: date, last: date) -> tuple[Cause, ...]:
    """Return the kinds of usage that rose most by day, each with the owner whose part rose most."""
    before: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    after: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for each in usage:
        if each.service == service and since - A_DAY * USUAL_DAYS <= each.day <= last:
            (before if each.day < since else after)[each.what, each.owner] += each.amount
    days = (last - since).days + 1
    rises: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for what, owner in {**before, **after}:
        rises[what][owner] = after[what, owner] / days - before[what, owner] / USUAL_DAYS
    known = {what for (what, _), amount in before.items() if amount}
    totals = {what: sum(by_owner.values(), Decimal()) for what, by_owner in rises.items()}
    least = SHARE_OF_CAUSE * sum((rise for rise in totals.values() if rise > 0), Decimal())
    biggest = sorted((what for what in totals if what and totals[what] > least), key=lambda what: (-totals[what], what))
    return tuple(
        Cause(what, what not in known, max(rises[what], key=lambda owner: (rises[what][owner], owner)))
        for what in biggest[:MAIN_CAUSES]
    )
