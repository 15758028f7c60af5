"""Compute a report from a bill: spending, forecast, biggest changes, unusual days. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from statistics import median

from inventories import Cost
from jobs.cost.bill import Bill, Charge, ChargeKind, Commitments, CostError, month_after, month_before, month_of
from jobs.cost.growth import DEVIATIONS, Growth, growths
from jobs.cost.shares import (
    OwnerSpending,
    StackSpending,
    Untagged,
    spending_of_owners,
    spending_of_stacks,
    untagged_usage,
)

A_DAY = timedelta(days=1)
BASELINE = 30  # days before a day that it is compared with
MIN_BASELINE = 7  # fewer days than this are not enough to compare with
MIN_SHARE_OF_BUDGET = Decimal("0.01")  # a smaller excess is not worth an alert
SAME_EVENT_DAYS = 7  # within these days, an equally high amount belongs to the same event

Amounts = Mapping[date, Decimal]


@dataclass(frozen=True, slots=True)
class Service:
    """The cost of one service this month, and the change from the same days of last month."""

    name: str
    spent: Decimal
    change: Decimal | None


@dataclass(frozen=True, slots=True)
class UnusualDay:
    """A day that cost far more than the thirty days before it, and the services that caused it."""

    day: date
    amount: Decimal
    usual: Decimal
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostReport:
    """The month up to the time when the bill was fetched."""

    fetched: datetime
    currency: str
    budget: Decimal
    spent: Decimal
    forecast: Decimal | None
    credits: Decimal
    month_gone: Decimal  # percent of the month that is over
    services: tuple[Service, ...]
    unusual_days: tuple[UnusualDay, ...]
    days: tuple[tuple[date, Decimal], ...]
    estimated: frozenset[date]
    link: str
    others: Mapping[str, Decimal] = field(default_factory=dict)
    last_month: tuple[tuple[date, Decimal], ...] = ()
    """The amount of each day of the whole month before."""
    growths: tuple[Growth, ...] = ()
    owners: tuple[OwnerSpending, ...] = ()
    stacks: tuple[StackSpending, ...] = ()
    untagged: tuple[Untagged, ...] = ()
    commitments: Commitments | None = None

    @property
    def today(self) -> date:
        """The UTC day of the bill."""
        return self.fetched.astimezone(UTC).date()

    @property
    def month(self) -> date:
        """The first day of the month."""
        return month_of(self.today)

    @property
    def biggest_changes(self) -> tuple[Service, ...]:
        """The three services with the biggest change, or with the highest cost if there is nothing to compare with."""

        def size(service: Service) -> Decimal:
            return abs(service.spent if service.change is None else service.change)

        return tuple(sorted(self.services, key=lambda service: -size(service))[:3])

    @property
    def exceeds_budget(self) -> bool:
        """Whether the budget is spent, or will be by the forecast."""
        return max(self.spent, self.forecast or self.spent) >= self.budget

    def percent(self, amount: Decimal) -> Decimal:
        """Return an amount as percent of the budget."""
        return 100 * amount / self.budget


def least_excess(settings: Cost) -> Decimal:
    """Return the smallest amount above the usual one that is worth an alert."""
    return max(Decimal(1), Decimal(str(settings.budget)) * MIN_SHARE_OF_BUDGET)


def report_on(bill: Bill, settings: Cost) -> CostReport:
    """Compute the report on a bill; CostError if its currency is not the budget's."""
    currency, floor = settings.currency, least_excess(settings)
    if bill.currency and bill.currency != currency:
        raise CostError(
            f"the bill is in {bill.currency}, but the budget is in {currency}; set cost.currency to "
            f'"{bill.currency}" and cost.budget to an amount in {bill.currency}'
        )
    today = bill.today
    this_month = [charge for charge in bill.charges if month_of(charge.day) == month_of(today)]
    costs = [charge for charge in this_month if charge.kind is not ChargeKind.CREDIT]
    spent = _sum(costs)
    return CostReport(
        fetched=bill.fetched,
        currency=currency,
        budget=Decimal(str(settings.budget)),
        spent=spent,
        forecast=_forecast(costs, spent, bill),
        credits=_sum(charge for charge in this_month if charge.kind is ChargeKind.CREDIT),
        month_gone=_month_gone(bill.fetched),
        services=services(bill.charges, today),
        unusual_days=_unusual_days(bill, floor),
        days=_amounts_by_day(costs, today),
        estimated=bill.estimated,
        link=bill.link,
        others=bill.others,
        last_month=_month_before(bill),
        growths=growths(bill, floor),
        owners=spending_of_owners(bill.tagged, settings.owner_tag),
        stacks=spending_of_stacks(bill.tagged, settings.stack_tag, settings.stacks),
        untagged=tuple(each for tag in settings.tags if (each := untagged_usage(bill.tagged, tag))),
        commitments=bill.commitments,
    )


def _sum(charges: Iterable[Charge]) -> Decimal:
    return sum((charge.amount for charge in charges), Decimal())


def _forecast(costs: Iterable[Charge], spent: Decimal, bill: Bill) -> Decimal | None:
    """Add the cost before today and the provider's forecast from today on; today's own cost is incomplete."""
    if bill.remaining is None:
        return None
    return max(spent, _sum(charge for charge in costs if charge.day < bill.today) + bill.remaining)


def _month_gone(fetched: datetime) -> Decimal:
    """Return how much of the month is over, in percent."""
    now = fetched.astimezone(UTC)
    first, after = (datetime.combine(day(now.date()), time(), UTC) for day in (month_of, month_after))
    return Decimal(100 * (now - first) / (after - first)).quantize(Decimal("0.1"))


def _month_before(bill: Bill) -> tuple[tuple[date, Decimal], ...]:
    """Return the amount of each day of the month before; nothing without charges in it."""
    last = month_of(bill.today) - A_DAY
    costs = [charge for charge in bill.charges if charge.kind is not ChargeKind.CREDIT and charge.day <= last]
    days = _amounts_by_day([charge for charge in costs if month_of(charge.day) == month_of(last)], last)
    return days if any(amount for _, amount in days) else ()


def _amounts_by_day(costs: Iterable[Charge], today: date) -> tuple[tuple[date, Decimal], ...]:
    """Return the amount of each day of the month up to today; zero for a day without charges."""
    amounts = _sum_by(lambda charge: charge.day, costs)
    return tuple((day, amounts.get(day, Decimal())) for day in _days(month_of(today), today))


def _days(first: date, last: date) -> list[date]:
    return [first + A_DAY * number for number in range((last - first).days + 1)]


def _sum_by(key: Callable[[Charge], date], charges: Iterable[Charge]) -> dict[date, Decimal]:
    amounts: dict[date, Decimal] = defaultdict(Decimal)
    for charge in charges:
        amounts[key(charge)] += charge.amount
    return amounts


def services(charges: Iterable[Charge], today: date) -> tuple[Service, ...]:
    """Return each service's cost this month, most expensive first.

    The change compares whole days only, so it leaves today out and is unknown on the first of a month.
    """
    spent, this_month, last_month = (defaultdict[str, Decimal](Decimal) for _ in range(3))
    for charge in charges:
        if charge.kind is ChargeKind.CREDIT:
            continue
        if month_of(charge.day) == month_of(today):
            spent[charge.service] += charge.amount
            this_month[charge.service] += charge.amount if charge.day < today else 0
        elif month_of(charge.day) == month_before(today) and charge.day.day < today.day:
            last_month[charge.service] += charge.amount
    compared = [
        Service(name, spent[name], None if today.day == 1 else this_month[name] - last_month[name])
        for name in sorted({*spent, *last_month})
    ]
    nonzero = (service for service in compared if service.spent or service.change)
    return tuple(sorted(nonzero, key=lambda service: -service.spent))


def _unusual_days(bill: Bill, floor: Decimal) -> tuple[UnusualDay, ...]:
    """Return the unusual days of the last thirty; only usage counts, because fees recur every month."""
    usage = [charge for charge in bill.charges if charge.kind is ChargeKind.USE]
    days = unusual_days(_sum_by(lambda charge: charge.day, usage), bill.today, floor)
    return tuple(UnusualDay(day, amount, usual, _causes(usage, day)) for day, amount, usual in days)


def unusual_days(amounts: Amounts, today: date, floor: Decimal) -> list[tuple[date, Decimal, Decimal]]:
    """Return each unusual day with its amount and the usual amount, by median and median deviation.

    Consecutive days of similar height count as one event.
    """
    began = min((day for day, amount in amounts.items() if amount), default=today)
    high: dict[date, Decimal] = {}
    unusual = []
    for day in _days(max(began, today - A_DAY * BASELINE), today):
        baseline = _days(max(began, day - A_DAY * BASELINE), day - A_DAY)
        usual, tolerance = _limits([amounts.get(each, Decimal()) for each in baseline], floor)
        amount = amounts.get(day, Decimal())
        if usual is None or amount <= usual + tolerance:
            continue
        recent = [high[each] for each in _days(day - A_DAY * SAME_EVENT_DAYS, day - A_DAY) if each in high]
        if not recent or amount > max(recent) + tolerance:
            unusual.append((day, amount, usual))
        high[day] = amount
    return unusual


def _limits(before: Sequence[Decimal], floor: Decimal) -> tuple[Decimal | None, Decimal]:
    """Return the usual amount (None if too few days are known) and the tolerated excess."""
    if len(before) < MIN_BASELINE:
        return None, floor
    usual = median(before)
    return usual, max(floor, DEVIATIONS * median(abs(amount - usual) for amount in before))


def _causes(usage: Iterable[Charge], day: date) -> tuple[str, ...]:
    """Return the three services that rose most above their median of the thirty days before."""
    by_service: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for charge in usage:
        by_service[charge.service][charge.day] += charge.amount
    before = _days(day - A_DAY * BASELINE, day - A_DAY)
    rise = {
        name: amounts.get(day, Decimal()) - median(amounts.get(each, Decimal()) for each in before)
        for name, amounts in by_service.items()
    }
    return tuple(name for name in sorted(rise, key=lambda name: -rise[name])[:3] if rise[name] > 0)
