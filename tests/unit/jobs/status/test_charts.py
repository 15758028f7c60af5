"""The charts of the status page: their points and their descriptions for screen readers."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from inventories import Cost
from jobs.cost.report import CostReport, report_on
from jobs.status.charts import BOTTOM, LEFT, RIGHT, TOP, day_chart, day_strip, lane, spending_chart
from jobs.status.days import Mark, MarkedDays
from tests.parts.bills import Account, at


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ([1, 2], "M0 13l1-13"),
        ([2, None, None, 1], "M0 0l3 13"),
        ([5, 5, 5, 5, 0.1], "M0 0l3 0l1 25"),
    ],
)
def test_a_chart_of_days_begins_at_zero_and_skips_days_without_a_value(values: list[float | None], line: str) -> None:
    assert f'<path d="{line}"/>' in day_chart(values, "sizes")


@pytest.mark.parametrize("values", [[], [7], [None, 7, None], [0, 0]])
def test_fewer_than_two_values_give_no_chart(values: list[float | None]) -> None:
    assert not day_chart(values, "sizes")


def test_a_strip_has_a_description_and_names_each_mark() -> None:
    drawn = day_strip([MarkedDays(88, 2, Mark.FAILED, 'Nov 1: "failed"')], "Last 90 days: <2> failed")
    assert 'aria-label="Last 90 days: &lt;2&gt; failed"' in drawn
    assert "<g class=f><rect x=352 width=8><title>Nov 1: &#34;failed&#34;</title></rect></g>" in drawn


def test_a_lane_marks_the_minutes_of_a_day() -> None:
    drawn = lane([(0, "now"), (1440, "tomorrow")], "backup: 02:00")
    assert '<path d="M0 0v10"><title>now</title></path><path d="M1440 0v10"><title>tomorrow</title></path>' in drawn


def test_the_month_before_stands_beside_and_ends_with_the_chart() -> None:
    drawn = spending_chart(report())
    before = points(drawn, "before")
    assert (before[0], before[-1][0], len(before)) == ((LEFT, BOTTOM), RIGHT, 31)
    assert points(spending_chart(report(last_month=())), "before") == []


def report(spent: str = "10", day: str = "2026-11-15", **more: Any) -> CostReport:
    return replace(report_on(Account(daily=spent).bill(at(day)), Cost(budget=300)), **more)


def points(drawn: str, name: str) -> list[tuple[float, float]]:
    found = re.search(rf'class="{name}" points="([^"]*)"', drawn)
    assert found
    return [(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in found[1].split())]


def test_spending_rises_day_by_day_and_the_forecast_ends_with_the_month() -> None:
    drawn = spending_chart(report())
    spent, ahead = points(drawn, "spent"), points(drawn, "ahead")
    assert spent[0] == (LEFT, BOTTOM)
    assert len(spent) == 16
    assert [y for _, y in spent] == sorted((y for _, y in spent), reverse=True)
    assert ahead[0] == spent[-1]
    assert ahead[1][0] == RIGHT
    assert "budget 300.00 USD" in drawn
    assert 'aria-label="150.00 USD spent of 300.00 (50 %) with 47 % of November gone;' in drawn


@pytest.mark.parametrize(
    "odd",
    [
        report("90"),
        report("0", forecast=None),
        report("10", forecast=Decimal(10_000)),
        report("-5"),
        report(day="2026-11-01"),
        report(day="2026-11-30"),
    ],
)
def test_nothing_is_drawn_outside_the_chart(odd: CostReport) -> None:
    drawn = spending_chart(odd)
    for x, y in points(drawn, "spent") + points(drawn, "ahead"):
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM
