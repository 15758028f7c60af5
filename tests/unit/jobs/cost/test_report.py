"""The figures of the month, and which days are unusual."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from inventories import Cost
from jobs.cost.bill import Bill, Charge, ChargeKind, CostError
from jobs.cost.report import CostReport, report_on, unusual_days
from tests.parts.bills import Account, at


def report(bill: Bill, budget: float = 300) -> CostReport:
    return report_on(bill, Cost(budget=budget))


def test_the_month_in_numbers() -> None:
    found = report(Account().bill(at("2026-11-16T00:00")))
    assert (found.spent, found.forecast, found.month_gone) == (Decimal(160), Decimal(300), Decimal("50.0"))
    assert found.percent(found.spent).quantize(Decimal("0.1")) == Decimal("53.3")
    assert [(service.name, service.spent, service.change) for service in found.services] == [
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
        # In Berlin it is already March 1; the bill is still in February.
        (datetime(2026, 3, 1, 0, 30, tzinfo=ZoneInfo("Europe/Berlin")), date(2026, 2, 1), 280, 28),
        # In Los Angeles it is still February 28; the bill is already in March.
        (datetime(2026, 2, 28, 16, 30, tzinfo=ZoneInfo("America/Los_Angeles")), date(2026, 3, 1), 10, 1),
    ],
)
def test_months_are_those_of_the_bill(asked: datetime, month: date, spent: int, days: int) -> None:
    found = report(Account().bill(asked))
    assert (found.month, found.spent, len(found.days)) == (month, Decimal(spent), days)


def test_on_the_first_there_is_no_change() -> None:
    found = report(Account().bill(at("2026-11-01")))
    assert [service.change for service in found.services] == [None] * 3
    assert [service.name for service in found.biggest_changes] == ["Amazon EC2", "Amazon RDS", "Amazon S3"]


def test_only_whole_days_are_compared_and_march_with_all_of_february() -> None:
    found = report(Account(odd={"2026-02-10": "110", "2026-03-30": "500"}).bill(at("2026-03-30")))
    assert {service.name: service.change for service in found.services} == {
        "Amazon EC2": Decimal(-45),  # 29 whole days against 28 with one expensive day; today is not whole
        "Amazon RDS": Decimal(-27),
        "Amazon S3": Decimal(-18),
    }


def test_a_removed_and_a_new_service_have_changed() -> None:
    days = [(date(2026, 10, 3), "Old", 40), (date(2026, 11, 3), "New", 70), (date(2026, 10, 25), "Later", 9)]
    charges = tuple(Charge(day, name, ChargeKind.USE, Decimal(amount)) for day, name, amount in days)
    found = report(replace(Account().bill(at("2026-11-10")), charges=charges))
    assert [(service.name, service.spent, service.change) for service in found.services] == [
        ("New", 70, 70),
        ("Old", 0, -40),
    ]


def test_credits_do_not_reduce_spending_and_fees_count() -> None:
    account = Account(credits={"2026-11-05": "-80"}, fees={"2026-11-01": "29"})
    found = report(account.bill(at("2026-11-10")))
    assert (found.spent, found.credits) == (Decimal(129), Decimal(-80))
    assert found.forecast == Decimal(329)
    assert found.unusual_days == (), "a monthly fee is not unusual"


def test_without_a_forecast() -> None:
    assert report(Account(young_until="2027-01-01").bill(at("2026-11-10"))).forecast is None


def test_the_forecast_is_never_below_spending() -> None:
    bill = replace(Account(odd={"2026-11-30": "90"}).bill(at("2026-11-30")), remaining=Decimal(10))
    assert report(bill).forecast == Decimal(380) == report(bill).spent


def test_an_empty_bill_is_no_error() -> None:
    found = report(replace(Account().bill(at("2026-11-10")), charges=(), currency="", remaining=None))
    assert (found.spent, found.forecast, found.services, found.unusual_days) == (0, None, (), ())
    assert len(found.days) == 10


def test_negative_amounts_are_amounts() -> None:
    account = Account(odd={"2026-11-05": "-30"})
    found = report(account.bill(at("2026-11-10")))
    assert (found.spent, found.unusual_days) == (Decimal(60), ())


def test_another_currency_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(CostError, match=r'the bill is in EUR, but the budget is in USD; set cost\.currency to "EUR"'):
        report(replace(Account().bill(at("2026-11-10")), currency="EUR"))


def test_an_unusual_day_names_the_services_that_caused_it() -> None:
    bill = Account().bill(at("2026-11-20"))
    expensive = Charge(date(2026, 11, 18), "AWS Data Transfer", ChargeKind.USE, Decimal(55))
    (unusual,) = report(replace(bill, charges=(*bill.charges, expensive))).unusual_days
    assert (unusual.day, unusual.amount, unusual.usual) == (date(2026, 11, 18), 65, 10)
    assert unusual.services == ("AWS Data Transfer",)


TODAY = date(2026, 11, 20)


def ago(*amounts: float, steady: float = 10, days: int = 62) -> dict[date, Decimal]:
    """Days with a steady amount, except that the last ones have these amounts."""
    whole = [steady] * (days - len(amounts)) + list(amounts)
    return {TODAY - timedelta(days=back): Decimal(str(amount)) for back, amount in enumerate(reversed(whole))}


WEEKS = [40 if number % 7 in (0, 1) else 100 for number in range(62)]
NOISE = [100 + (number * 37) % 11 - 5 for number in range(62)]


@pytest.mark.parametrize(
    ("amounts", "days_ago"),
    [
        (ago(), []),
        (ago(60, 10, 10), [2]),
        (ago(12.9), []),  # the floor is 3
        (ago(13.1), [0]),
        (ago(10, 0, 10), []),  # a cheap day is not unusual
        (ago(60, 10, 10, 10, 62), [4]),  # the same amount within a week is the same event
        (ago(60, 10, 10, 10, 160), [4, 0]),  # a higher amount is a new event
        (ago(60, *[10] * 8, 60), [9, 0]),  # the same amount later is a new event
        (ago(*[50] * 12), [11]),  # a lasting increase is one event
        (ago(*WEEKS), []),
        (ago(*NOISE), []),
        (ago(*NOISE[:-1], 115), []),  # within the noise
        (ago(*NOISE[:-1], 140), [0]),
        (ago(*[10] * 6, 90, days=7), []),  # six days are not enough to compare with
        (ago(*[10] * 7, 90, days=8), [0]),
        ({}, []),
    ],
)
def test_days_are_unusual_by_median_and_median_deviation(amounts: dict[date, Decimal], days_ago: list[int]) -> None:
    assert [(TODAY - day).days for day, _, _ in unusual_days(amounts, TODAY, Decimal(3))] == days_ago


def test_days_before_the_account_existed_are_not_compared_with() -> None:
    amounts = {day: amount for day, amount in ago().items() if (TODAY - day).days < 9}
    assert unusual_days(amounts, TODAY, Decimal(3)) == []
