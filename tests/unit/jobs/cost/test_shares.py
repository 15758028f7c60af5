"""Stacks with a budget, owners, usage without a tag, and commitments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from inventories import Cost
from jobs.cost.bill import Commitments, TaggedUsage
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import CostReport, report_on
from jobs.cost.shares import OwnerSpending, Untagged, spending_of_owners, spending_of_stacks, untagged_usage
from tests.parts.bills import Account, at

SETTINGS = Cost(
    budget=1000, owner_tag="Owner", stack_tag="Stack", stacks={"network": 200, "cluster": 900}, commitments=90
)
NOW = at("2026-11-15")


def usage(tag: str, by_value: Mapping[str, float], service: str = "Amazon EC2") -> list[TaggedUsage]:
    return [TaggedUsage(tag, value, service, Decimal(str(amount))) for value, amount in by_value.items()]


def report(tagged: Sequence[TaggedUsage] = (), commitments: Commitments | None = None) -> CostReport:
    bill = replace(Account("1").bill(NOW), remaining=None, tagged=tuple(tagged), commitments=commitments)
    return report_on(bill, SETTINGS)


def test_each_stack_with_a_budget_is_compared_with_it() -> None:
    tagged = [*usage("Stack", {"network": 100, "other": 7}), *usage("Stack", {"network": 60}, "Amazon VPC")]
    network, cluster = spending_of_stacks([*tagged, *usage("Owner", {"network": 5})], "Stack", SETTINGS.stacks)
    assert (network.spent, network.budget, cluster.spent) == (160, 200, 0)


def test_owners_are_sorted_by_spending() -> None:
    tagged = [*usage("Owner", {"data": 2, "": 9, "shop": 5, "gone": 0}), *usage("Owner", {"data": 4}, "Amazon S3")]
    found = [(owner.name, owner.spent) for owner in spending_of_owners(tagged, "Owner")]
    assert found == [("", 9), ("data", 6), ("shop", 5)]
    assert OwnerSpending("data", Decimal(6)) in spending_of_owners(tagged, "Owner")


@pytest.mark.parametrize(
    ("tagged", "found"),
    [
        ([], None),
        (usage("Owner", {"data": 10}), None),
        (usage("Owner", {"data": 5, "": -1}), None),
        (
            [*usage("Owner", {"data": 60, "": 30}), *usage("Owner", {"": 10}, "Amazon S3")],
            Untagged("Owner", Decimal(40), Decimal(40), ("Amazon EC2", "Amazon S3")),
        ),
    ],
)
def test_usage_without_a_tag(tagged: list[TaggedUsage], found: Untagged | None) -> None:
    assert untagged_usage([*tagged, *usage("Stack", {"": 99})], "Owner") == found


NETWORK_80 = "stack network: 80 % of its budget is spent (160.00 of 200.00 USD)"
NETWORK = "stack network: its budget is spent (210.00 of 200.00 USD)"
UNTAGGED = "40 % of usage has no tag Owner: 40.00 USD (Amazon EC2)"
UNUSED = "75 % of commitments used, 50.00 of 200.00 USD unused"


@pytest.mark.parametrize(
    ("found", "known", "keys", "title", "findings"),
    [
        (report(usage("Stack", {"network": 160})), (), ("2026-11 stack network 80",), NETWORK_80, []),
        (report(usage("Stack", {"network": 160})), ("2026-11 stack network 80",), (), "", []),
        (report(usage("Stack", {"network": 210})), ("2026-11 stack network 80",), ("2026-11 stack network 100",),
         NETWORK, [NETWORK]),
        (report(usage("Stack", {"network": 150})), ("2026-11 stack network 80",), ("2026-11 stack network 80 under",),
         "stack network is back under 80 % of its budget", []),
        (report(usage("Owner", {"data": 60, "": 40})), (), ("2026-11 untagged Owner",), UNTAGGED, [UNTAGGED]),
        (report(usage("Owner", {"data": 60, "": 40})), ("2026-11 untagged Owner",), (), "", [UNTAGGED]),
        (report(usage("Owner", {"data": 95, "": 5})), (), (), "", []),  # below 10 %
        (report(usage("Owner", {"data": 1, "": 5})), (), (), "", []),  # below 1 % of the budget
        (report(commitments=Commitments(Decimal(200), Decimal(50))), (), ("2026-11 commitments",), UNUSED, [UNUSED]),
        (report(commitments=Commitments(Decimal(200), Decimal(20))), (), (), "", []),
    ],
)  # fmt: skip
def test_what_is_news_once_a_month_and_what_is_a_finding(
    found: CostReport, known: tuple[str, ...], keys: tuple[str, ...], title: str, findings: list[str]
) -> None:
    notice = cost_notice(found, SETTINGS, known, NOW.date())
    assert (notice.keys, notice.title, cost_findings(found, SETTINGS)) == (keys, title, findings)


def test_a_rise_is_news_once_although_its_first_day_moves() -> None:
    bill = Account(odd={f"2026-11-{day:02}": "60" for day in range(9, 16)}).bill(NOW)
    grown = report_on(replace(bill, remaining=None), Cost(budget=10000))
    keys = ("growth 2026-11-09 Amazon EC2",)
    assert cost_notice(grown, Cost(budget=10000), (), at("2026-11-16").date()).keys == keys
    for day in ("2026-11-08", "2026-11-09", "2026-11-11"):
        known = (f"growth {day} Amazon EC2",)
        assert cost_notice(grown, Cost(budget=10000), known, at("2026-11-16").date()).keys == ()
