"""What a bill says about the month, and which days stand out."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from jobs.cost.bill import Bill, Charge, ChargeKind, CostError, month_after, month_before
from jobs.cost.report import CostReport, report_on, unusual_days
from tests.parts.bills import Account, at


def report(bill: Bill, budget: float = 300) -> CostReport:
    return report_on(bill, budget, "USD")


def test_the_month_in_numbers() -> None:
    found = report(Account().bill(at("2026-11-16T00:00")))
    assert (found.spent, found.forecast, found.gone) == (Decimal(160), Decimal(300), Decimal("50.0"))
    assert found.percent(found.spent).quantize(Decimal("0.1")) == Decimal("53.3")
    assert [(one.name, one.spent, one.change) for one in found.services] == [
        ("Amazon EC2", Decimal(80), Decimal(0)),
        ("Amazon RDS", Decimal(48), Decimal(0)),
        ("Amazon S3", Decimal(32), Decimal(0)),
    ]
    assert found.days[0] == (date(2026, 11, 1), Decimal(10))
    assert len(found.days) == 16


@pytest.mark.parametrize(
    ("asked", "month", "spent", "days"),
    [
        (at("2026-11-01T00:10"), date(2026, 11, 1), 10, 1),
        (at("2024-02-29"), date(2024, 2, 1), 290, 29),
        (at("2026-03-31"), date(2026, 3, 1), 310, 31),
        (at("2026-12-31T23:59"), date(2026, 12, 1), 310, 31),
        # In Berlin it is the 1st of March already; the bill is still February's.
        (datetime(2026, 3, 1, 0, 30, tzinfo=ZoneInfo("Europe/Berlin")), date(2026, 2, 1), 280, 28),
        # In Los Angeles it is still the 28th of February; the bill is March's already.
        (datetime(2026, 2, 28, 16, 30, tzinfo=ZoneInfo("America/Los_Angeles")), date(2026, 3, 1), 10, 1),
    ],
)
def test_months_are_those_of_the_bill(asked: datetime, month: date, spent: int, days: int) -> None:
    found = report(Account().bill(asked))
    assert (found.month, found.spent, len(found.days)) == (month, Decimal(spent), days)


def test_on_the_first_there_is_nothing_to_compare_with() -> None:
    found = report(Account().bill(at("2026-11-01")))
    assert [one.change for one in found.services] == [None] * 3
    assert [one.name for one in found.moved] == ["Amazon EC2", "Amazon RDS", "Amazon S3"]


def test_compared_are_whole_days_and_in_march_as_many_as_february_has() -> None:
    found = report(Account(odd={"2026-02-10": "110", "2026-03-30": "500"}).bill(at("2026-03-30")))
    assert {one.name: one.change for one in found.services} == {
        "Amazon EC2": Decimal(-45),  # 29 whole days against 28, one of them dear; today does not count yet
        "Amazon RDS": Decimal(-27),
        "Amazon S3": Decimal(-18),
    }


def test_a_service_that_is_gone_and_one_that_is_new_have_moved() -> None:
    days = [(date(2026, 10, 3), "Old", 40), (date(2026, 11, 3), "New", 70), (date(2026, 10, 25), "Later", 9)]
    charges = tuple(Charge(day, name, ChargeKind.USE, Decimal(amount)) for day, name, amount in days)
    found = report(replace(Account().bill(at("2026-11-10")), charges=charges))
    assert [(one.name, one.spent, one.change) for one in found.services] == [("New", 70, 70), ("Old", 0, -40)]


def test_credits_hide_nothing_and_fees_count() -> None:
    account = Account(credits={"2026-11-05": "-80"}, fees={"2026-11-01": "29"})
    found = report(account.bill(at("2026-11-10")))
    assert (found.spent, found.credits) == (Decimal(129), Decimal(-80))
    assert found.forecast == Decimal(329)
    assert found.stand_outs == (), "a fee comes every month"


def test_without_a_forecast() -> None:
    assert report(Account(young_until="2027-01-01").bill(at("2026-11-10"))).forecast is None


def test_the_forecast_is_never_below_what_is_spent() -> None:
    bill = replace(Account(odd={"2026-11-30": "90"}).bill(at("2026-11-30")), to_come=Decimal(10))
    assert report(bill).forecast == Decimal(380) == report(bill).spent


def test_an_empty_bill_is_no_error() -> None:
    found = report(replace(Account().bill(at("2026-11-10")), charges=(), currency="", to_come=None))
    assert (found.spent, found.forecast, found.services, found.stand_outs) == (0, None, (), ())
    assert len(found.days) == 10


def test_negative_amounts_are_amounts() -> None:
    account = Account(odd={"2026-11-05": "-30"})
    found = report(account.bill(at("2026-11-10")))
    assert (found.spent, found.stand_outs) == (Decimal(60), ())


def test_another_currency_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(CostError, match=r'the bill is in EUR and the budget in USD: set cost\.currency to "EUR"'):
        report(replace(Account().bill(at("2026-11-10")), currency="EUR"))


def test_a_day_that_stands_out_names_the_services_that_did_it() -> None:
    bill = Account().bill(at("2026-11-20"))
    dear = Charge(date(2026, 11, 18), "AWS Data Transfer", ChargeKind.USE, Decimal(55))
    (one,) = report(replace(bill, charges=(*bill.charges, dear))).stand_outs
    assert (one.day, one.amount, one.usual) == (date(2026, 11, 18), 65, 10)
    assert one.services == ("AWS Data Transfer",)


TODAY = date(2026, 11, 20)


def ago(*amounts: float, steady: float = 10, days: int = 62) -> dict[date, Decimal]:
    """Steady days, of which the last ones are these."""
    whole = [steady] * (days - len(amounts)) + list(amounts)
    return {TODAY - timedelta(days=back): Decimal(str(amount)) for back, amount in enumerate(reversed(whole))}


WEEKS = [40 if number % 7 in (0, 1) else 100 for number in range(62)]
NOISE = [100 + (number * 37) % 11 - 5 for number in range(62)]


@pytest.mark.parametrize(
    ("amounts", "days_ago"),
    [
        (ago(), []),
        (ago(60, 10, 10), [2]),
        (ago(12.9), []),  # the floor: three of money
        (ago(13.1), [0]),
        (ago(10, 0, 10), []),  # a cheap day wakes nobody
        (ago(60, 10, 10, 10, 62), [4]),  # the same again within a week
        (ago(60, 10, 10, 10, 160), [4, 0]),  # more than the same
        (ago(60, *[10] * 8, 60), [9, 0]),  # the same later
        (ago(*[50] * 12), [11]),  # a step up is one event, however long it lasts
        (ago(*WEEKS), []),
        (ago(*NOISE), []),
        (ago(*NOISE[:-1], 115), []),  # within the noise
        (ago(*NOISE[:-1], 140), [0]),
        (ago(*[10] * 6, 90, days=7), []),  # six days are too few to tell
        (ago(*[10] * 7, 90, days=8), [0]),
        ({}, []),
    ],
)
def test_days_stand_out_by_median_and_median_deviation(amounts: dict[date, Decimal], days_ago: list[int]) -> None:
    assert [(TODAY - day).days for day, _, _ in unusual_days(amounts, TODAY, Decimal(3))] == days_ago


def test_days_before_an_account_began_are_not_cheap_days() -> None:
    amounts = {day: amount for day, amount in ago().items() if (TODAY - day).days < 9}
    assert unusual_days(amounts, TODAY, Decimal(3)) == []


@pytest.mark.parametrize(
    ("day", "before", "after"),
    [
        (date(2026, 1, 31), date(2025, 12, 1), date(2026, 2, 1)),
        (date(2024, 2, 29), date(2024, 1, 1), date(2024, 3, 1)),
        (date(2026, 12, 1), date(2026, 11, 1), date(2027, 1, 1)),
    ],
)
def test_months_have_neighbours(day: date, before: date, after: date) -> None:
    assert (month_before(day), month_after(day)) == (before, after)
