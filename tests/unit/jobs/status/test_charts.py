"""The charts of the status page: their points and their descriptions for screen readers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from jobs.cost.report import CostReport, report_on
from jobs.status.charts import BOTTOM, LEFT, RIGHT, TOP, size_trend, spending_chart
from tests.parts.bills import Account, at


@pytest.mark.parametrize(
    ("values", "points"),
    [
        ([1, 2], "4.0,24.0 116.0,4.0"),
        ([2, 1, 2], "4.0,4.0 60.0,24.0 116.0,4.0"),
        ([5, 5], "4.0,14.0 116.0,14.0"),
    ],
)
def test_a_trend_fills_its_area(values: Sequence[int], points: str) -> None:
    assert f'points="{points}"' in size_trend(values)


def test_a_trend_has_a_description() -> None:
    assert 'aria-label="Size of the last 2 backups: from 1.0 GB to 1.4 GB"' in size_trend(
        [1_000_000_000, 1_400_000_000]
    )


@pytest.mark.parametrize("values", [[], [7]])
def test_fewer_than_two_sizes_give_no_chart(values: list[int]) -> None:
    assert not size_trend(values)


def report(spent: str = "10", day: str = "2026-11-15", **more: object) -> CostReport:
    return replace(report_on(Account(daily=spent).bill(at(day)), 300, "USD"), **more)  # type: ignore[arg-type]


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
