"""Which services cost more than before, since when, and what caused it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from inventories import Cost
from jobs.cost import sentences
from jobs.cost.bill import Bill, Charge, ChargeKind, DayOfUsage
from jobs.cost.growth import Cause, Growth, growths
from jobs.cost.report import report_on
from jobs.cost.shares import OwnerSpending
from tests.parts.bills import Account, at
from tests.parts.focus import days

TODAY = at("2026-11-30")
FLOOR = Decimal(25)


def bill(amounts: Mapping[str, str], first: str = "2026-10-01", kind: ChargeKind = ChargeKind.USE) -> Bill:
    """RDS costs 8 USD each day until today, except on the days in `amounts`."""
    whole = (TODAY.date() - date.fromisoformat(first)).days + 1
    charges = tuple(Charge(day, "Amazon RDS", kind, Decimal(amounts.get(str(day), "8"))) for day in days(first, whole))
    return replace(Account().bill(TODAY), charges=charges)


def from_day(first: str, amount: str, until: str = "2026-11-30") -> dict[str, str]:
    count = (date.fromisoformat(until) - date.fromisoformat(first)).days + 1
    return {str(day): amount for day in days(first, count)}


WEEKENDS = {str(day): "20" for day in days("2026-10-01", 61) if day.weekday() >= 5}


@pytest.mark.parametrize(
    ("amounts", "found"),
    [
        ({}, None),
        (from_day("2026-11-23", "14"), ("2026-11-23", 42)),  # until yesterday: seven days of 6 more
        ({**from_day("2026-11-23", "14"), "2026-11-29": "3"}, ("2026-11-23", 36)),  # yesterday is not complete
        (from_day("2026-11-24", "18", "2026-11-26"), None),  # over again
        ({"2026-11-27": "90"}, None),  # one day
        (from_day("2026-11-28", "18"), None),  # two days, but yesterday can still be incomplete
        (from_day("2026-11-27", "22"), ("2026-11-27", 42)),
        (from_day("2026-11-27", "16"), None),  # below 1 % of the budget
        (from_day("2026-11-10", "14"), None),  # for longer than two weeks: the usual amount
        (from_day("2026-11-23", "2"), None),  # less
        (WEEKENDS, None),
        ({**WEEKENDS, **from_day("2026-11-23", "30")}, ("2026-11-23", 22 * 5 + 10 * 2)),
    ],
)  # fmt: skip
def test_a_service_grew_if_each_day_since_then_is_above_the_usual_amount(
    amounts: Mapping[str, str], found: tuple[str, int] | None
) -> None:
    expected = [] if found is None else [Growth("Amazon RDS", date.fromisoformat(found[0]), Decimal(found[1]))]
    assert list(growths(bill(amounts), FLOOR)) == expected


def test_a_young_service_in_an_old_account_grew_and_a_young_account_did_not() -> None:
    young = bill({}, first="2026-11-24")
    assert growths(young, FLOOR) == ()
    old = Charge(date(2026, 10, 1), "Amazon S3", ChargeKind.USE, Decimal("0.1"))
    (found,) = growths(replace(young, charges=(old, *young.charges)), FLOOR)
    assert (found.since, found.amount) == (date(2026, 11, 24), 48)


def test_fees_and_credits_do_not_grow() -> None:
    assert growths(bill(from_day("2026-11-23", "14"), kind=ChargeKind.FEE), FLOOR) == ()


def usage(what: str, owner: str, by_day: Mapping[str, str], service: str = "Amazon RDS") -> list[DayOfUsage]:
    return [
        DayOfUsage(date.fromisoformat(day), service, what, owner, Decimal(amount)) for day, amount in by_day.items()
    ]


BEFORE, AFTER = from_day("2026-11-01", "5", "2026-11-22"), from_day("2026-11-23", "5")


@pytest.mark.parametrize(
    ("items", "causes"),
    [
        ([], ()),
        (
            [*usage("db.m5.large", "shop", BEFORE | AFTER), *usage("db.r6g.large", "data", AFTER)],
            (Cause("db.r6g.large", True, "data"),),
        ),
        (
            [*usage("GP3-Storage", "", from_day("2026-11-01", "1") | from_day("2026-11-23", "9"))],
            (Cause("GP3-Storage", False, ""),),
        ),
        (
            [*usage("a", "data", AFTER), *usage("a", "shop", from_day("2026-11-23", "6")), *usage("b", "", AFTER),
             *usage("c", "", from_day("2026-11-23", "2"))],
            (Cause("a", True, "shop"), Cause("b", True, "")),
        ),  # c is less than a fifth of the rise
        ([*usage("x", "", AFTER, service="Amazon S3")], ()),
    ],
)  # fmt: skip
def test_the_causes_are_what_rose_most_by_day(items: list[DayOfUsage], causes: tuple[Cause, ...]) -> None:
    (found,) = growths(replace(bill(from_day("2026-11-23", "14")), usage=tuple(items)), FLOOR)
    assert found.causes == causes


@pytest.mark.parametrize(
    ("causes", "owned", "text"),
    [
        ((), True, ""),
        ((Cause("db.r6g.large", True, ""),), False, ": db.r6g.large added"),
        ((Cause("db.r6g.large", True, ""), Cause("GP3-Storage", False, "data")), True,
         ": db.r6g.large added (no owner), GP3-Storage grew (owner: data)"),
    ],
)  # fmt: skip
def test_the_sentence(causes: tuple[Cause, ...], owned: bool, text: str) -> None:
    report = report_on(bill({}), Cost(budget=300))
    owners = (OwnerSpending("data", Decimal(9)),) if owned else ()
    growth = Growth("Amazon RDS", date(2026, 11, 23), Decimal(41), causes)
    found = sentences.growth(growth, replace(report, owners=owners))
    assert found == f"Amazon RDS grew by 41.00 USD since Mon Nov 23{text}"


def test_growth_is_found_in_any_week_of_a_month() -> None:
    for back in range(3, 15):
        since = TODAY.date() - timedelta(days=back)
        (found,) = growths(bill(from_day(str(since), "38")), FLOOR)
        assert (found.since, found.amount) == (since, 30 * back)
