"""The cache for bills, filled from Cost Explorer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

from jobs.cost import aws
from jobs.cost.bill import Charge, ChargeKind
from jobs.cost.cache import cached_bill, last_bill
from tests.parts.bills import Account, at
from tests.parts.explorer import USAGE, Explorer, pages_of
from tests.parts.runs import environment, store_in

COST = "\n[cost]\nbudget = 300\n"
NOW = at("2026-11-16")


def test_thousands_of_services(cost_explorer: Explorer, tmp_path: Path) -> None:
    empty = Account(daily="0").bill(NOW)
    days = [date(2026, 11, day) for day in range(1, 4)]
    many = [Charge(day, f"service {number}", ChargeKind.USE, Decimal("0.01")) for day in days for number in range(3000)]
    cost_explorer.queue(pages_of(replace(empty, charges=tuple(many)), size=1))
    env, store = environment(more=COST), store_in(tmp_path)
    bill = cached_bill(env, store, NOW, aws.fetch_bill).bill
    assert len(bill.charges) == 9000
    cached = last_bill(env, store)
    assert cached is not None
    assert set(cached.charges) == set(bill.charges)


def test_bills_are_cached_for_eight_hours(cost_explorer: Explorer, tmp_path: Path) -> None:
    env, store = environment(more=COST), store_in(tmp_path)
    for hour, fresh in (("09:00", True), ("16:59", False), ("17:00", True), ("18:00", False)):
        assert cached_bill(env, store, at(f"2026-11-16T{hour}"), aws.fetch_bill).fresh is fresh
    assert cached_bill(env, store, at("2026-11-16T18:01"), aws.fetch_bill, refresh=True).fresh
    other = environment(more=COST + 'filter = { tag = { Environment = "staging" } }\n')
    assert cached_bill(other, store, at("2026-11-16T18:02"), aws.fetch_bill).fresh, "another filter needs another bill"
    assert cached_bill(other, store, at("2026-11-16T10:00"), aws.fetch_bill).fresh, "a bill from the future is not used"
    assert cost_explorer.actions.count(USAGE) == 5
