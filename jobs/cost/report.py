"""What a bill says about the month: spent, forecast, what moved, which days stand out. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from statistics import median

from jobs.cost.bill import Bill, Charge, ChargeKind, CostError, month_after, month_before, month_of

A_DAY = timedelta(days=1)
BASELINE = 30  # days that a day is compared with
MIN_BASELINE = 7  # of them, for a comparison to mean something
DEVIATIONS = Decimal("5.93")  # four standard deviations, as median deviations: 4 * 1.4826
MIN_SHARE_OF_BUDGET = Decimal("0.01")  # of the month's budget: less than that is not worth waking anybody
SAME_EVENT_DAYS = 7  # days in which an amount that was seen before is no new event

Amounts = Mapping[date, Decimal]


@dataclass(frozen=True, slots=True)
class Service:
    """What one service cost this month, and how that differs from the same days of last month."""

    name: str
    spent: Decimal
    change: Decimal | None


@dataclass(frozen=True, slots=True)
class UnusualDay:
    """A day that cost far more than the thirty before it, and the services that did it."""

    day: date
    amount: Decimal
    usual: Decimal
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CostReport:
    """The month so far, at the moment the bill was asked for."""

    asked: datetime
    currency: str
    budget: Decimal
    spent: Decimal
    forecast: Decimal | None
    credits: Decimal
    gone: Decimal
    services: tuple[Service, ...]
    stand_outs: tuple[UnusualDay, ...]
    days: tuple[tuple[date, Decimal], ...]
    estimated: frozenset[date]
    link: str

    @property
    def today(self) -> date:
        """The day of the bill, by UTC."""
        return self.asked.astimezone(UTC).date()

    @property
    def month(self) -> date:
        """Its first day."""
        return month_of(self.today)

    @property
    def moved(self) -> tuple[Service, ...]:
        """The three services that moved most; where there is nothing to compare with, those that cost most."""
        return tuple(sorted(self.services, key=lambda one: -abs(one.spent if one.change is None else one.change))[:3])

    def percent(self, amount: Decimal) -> Decimal:
        """An amount as per cent of the budget."""
        return 100 * amount / self.budget


def report_on(bill: Bill, budget: float, currency: str) -> CostReport:
    """Work out what a bill says; CostError where it can't be held against the budget."""
    if bill.currency and bill.currency != currency:
        raise CostError(
            f"the bill is in {bill.currency} and the budget in {currency}: set cost.currency to "
            f'"{bill.currency}", and cost.budget in it'
        )
    limit, today = Decimal(str(budget)), bill.today
    this_month = [one for one in bill.charges if month_of(one.day) == month_of(today)]
    costs = [one for one in this_month if one.kind is not ChargeKind.CREDIT]
    spent = _sum(costs)
    return CostReport(
        asked=bill.asked,
        currency=currency,
        budget=limit,
        spent=spent,
        forecast=_forecast(costs, spent, bill),
        credits=_sum(one for one in this_month if one.kind is ChargeKind.CREDIT),
        gone=_gone(bill.asked),
        services=services(bill.charges, today),
        stand_outs=_stand_outs(bill, max(Decimal(1), limit * MIN_SHARE_OF_BUDGET)),
        days=_days(costs, today),
        estimated=bill.estimated,
        link=bill.link,
    )


def _sum(charges: Iterable[Charge]) -> Decimal:
    return sum((one.amount for one in charges), Decimal())


def _forecast(costs: Iterable[Charge], spent: Decimal, bill: Bill) -> Decimal | None:
    """What was spent before today and what is to come from today on; today's own amount is not whole yet."""
    if bill.to_come is None:
        return None
    return max(spent, _sum(one for one in costs if one.day < bill.today) + bill.to_come)


def _gone(asked: datetime) -> Decimal:
    """How much of the month is over, in per cent."""
    now = asked.astimezone(UTC)
    first, after = (datetime.combine(day(now.date()), time(), UTC) for day in (month_of, month_after))
    return Decimal(100 * (now - first) / (after - first)).quantize(Decimal("0.1"))


def _days(costs: Iterable[Charge], today: date) -> tuple[tuple[date, Decimal], ...]:
    """Each day of the month until today; one without charges cost nothing."""
    amounts = _by(lambda one: one.day, costs)
    return tuple((day, amounts.get(day, Decimal())) for day in _from(month_of(today), today))


def _from(first: date, last: date) -> list[date]:
    return [first + A_DAY * number for number in range((last - first).days + 1)]


def _by(of: Callable[[Charge], date], charges: Iterable[Charge]) -> dict[date, Decimal]:
    amounts: dict[date, Decimal] = defaultdict(Decimal)
    for one in charges:
        amounts[of(one)] += one.amount
    return amounts


def services(charges: Iterable[Charge], today: date) -> tuple[Service, ...]:
    """What each service cost this month, the dearest first. Compared are whole days: not today, none on the 1st."""
    spent, now, before = (defaultdict[str, Decimal](Decimal) for _ in range(3))
    for one in charges:
        if one.kind is ChargeKind.CREDIT:
            continue
        if month_of(one.day) == month_of(today):
            spent[one.service] += one.amount
            now[one.service] += one.amount if one.day < today else 0
        elif month_of(one.day) == month_before(today) and one.day.day < today.day:
            before[one.service] += one.amount
    found = [
        Service(name, spent[name], None if today.day == 1 else now[name] - before[name])
        for name in sorted({*spent, *before})
    ]
    return tuple(sorted((one for one in found if one.spent or one.change), key=lambda one: -one.spent))


def _stand_outs(bill: Bill, floor: Decimal) -> tuple[UnusualDay, ...]:
    """The days of the last thirty that stand out: by use alone, for fees come once a month anyway."""
    use = [one for one in bill.charges if one.kind is ChargeKind.USE]
    found = unusual_days(_by(lambda one: one.day, use), bill.today, floor)
    return tuple(UnusualDay(day, amount, usual, _why(use, day)) for day, amount, usual in found)


def unusual_days(amounts: Amounts, today: date, floor: Decimal) -> list[tuple[date, Decimal, Decimal]]:
    """Day, amount and what is usual: by median and median deviation. Days in a row at one height are one event."""
    began = min((day for day, amount in amounts.items() if amount), default=today)
    high: dict[date, Decimal] = {}
    told = []
    for day in _from(max(began, today - A_DAY * BASELINE), today):
        usual, far = _limits(
            [amounts.get(one, Decimal()) for one in _from(max(began, day - A_DAY * BASELINE), day - A_DAY)], floor
        )
        amount = amounts.get(day, Decimal())
        if usual is None or amount <= usual + far:
            continue
        seen = [high[one] for one in _from(day - A_DAY * SAME_EVENT_DAYS, day - A_DAY) if one in high]
        if not seen or amount > max(seen) + far:
            told.append((day, amount, usual))
        high[day] = amount
    return told


def _limits(before: Sequence[Decimal], floor: Decimal) -> tuple[Decimal | None, Decimal]:
    """What is usual, and how far from it is far; None where too few days are known."""
    if len(before) < MIN_BASELINE:
        return None, floor
    usual = median(before)
    return usual, max(floor, DEVIATIONS * median(abs(amount - usual) for amount in before))


def _why(use: Iterable[Charge], day: date) -> tuple[str, ...]:
    """The three services that rose most against their middle day of the thirty before."""
    by_service: dict[str, dict[date, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for one in use:
        by_service[one.service][one.day] += one.amount
    before = _from(day - A_DAY * BASELINE, day - A_DAY)
    rose = {
        name: amounts.get(day, Decimal()) - median(amounts.get(one, Decimal()) for one in before)
        for name, amounts in by_service.items()
    }
    return tuple(name for name in sorted(rose, key=lambda name: -rose[name])[:3] if rose[name] > 0)
