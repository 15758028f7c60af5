"""Which facts of a report are news, and the notice about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from inventories import Cost
from jobs.cost import sentences
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import CostReport, UnusualDay, report_on
from tests.parts.bills import Account, at

THRESHOLDS = (50, 80, 100)
LONG_AGO = date(2026, 1, 1)
SETTINGS = Cost(budget=300, thresholds=THRESHOLDS)


def report(spent: float, forecast: float | None = None) -> CostReport:
    whole = report_on(Account().bill(at("2026-11-16")), Cost(budget=300))
    return replace(
        whole,
        spent=Decimal(str(spent)),
        forecast=None if forecast is None else Decimal(str(forecast)),
    )


SPENT_50, SPENT_80, SPENT_100 = (f"2026-11 spent {number}" for number in THRESHOLDS)
FORECAST = "2026-11 forecast 100"


@pytest.mark.parametrize(
    ("spent", "forecast", "known", "keys"),
    [
        (0, None, (), ()),
        (149.99, 290, (), ()),
        (150, 290, (), (SPENT_50,)),
        (239.99, 290, (SPENT_50,), ()),
        (240, 290, (SPENT_50,), (SPENT_80,)),
        (240, 290, (), (SPENT_80,)),  # the highest threshold includes the lower ones
        (300, 310, (SPENT_80,), (SPENT_100,)),  # the forecast adds nothing
        (299, 300, (SPENT_80,), (FORECAST,)),
        (299, 299.99, (SPENT_80,), ()),
        (310, 320, (SPENT_80, FORECAST), (SPENT_100,)),
        (310, 320, (SPENT_100,), ()),
        (299, None, (SPENT_100,), ()),  # a few cents below the threshold are within the margin
        (293, 299, (SPENT_100,), (f"{SPENT_100} under",)),
        (293, 299, (SPENT_100, f"{SPENT_100} under"), ()),
        (310, 320, (SPENT_100, f"{SPENT_100} under"), ()),  # once a month
        (
            100,
            290,
            (SPENT_50, SPENT_80, SPENT_100),
            (f"{SPENT_50} under",),
        ),  # the lowest threshold includes the higher ones
        (100, 290, (SPENT_50, SPENT_80, f"{SPENT_50} under"), ()),
        (220, 290, (SPENT_50, SPENT_80, SPENT_100, f"{SPENT_100} under"), (f"{SPENT_80} under",)),
        (200, 293, (SPENT_50, FORECAST), (f"{FORECAST} under",)),
        (200, 299, (SPENT_50, FORECAST), ()),
        (200, None, (SPENT_50, FORECAST), ()),  # a missing forecast is not a low forecast
        (150, 290, ("2026-10 spent 50",), (SPENT_50,)),  # another month
        (-20, None, (), ()),
        (-20, None, (SPENT_50,), (f"{SPENT_50} under",)),
    ],
)
def test_each_threshold_is_news_once_a_month_and_so_is_falling_below_it(
    spent: float, forecast: float | None, known: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    assert cost_notice(report(spent, forecast), SETTINGS, known, LONG_AGO).keys == keys


@pytest.mark.parametrize(
    ("thresholds", "keys"), [((50,), (FORECAST,)), ((150,), ("2026-11 forecast 150",)), ((), (FORECAST,))]
)
def test_a_forecast_above_the_budget_is_news_with_any_thresholds(
    thresholds: tuple[int, ...], keys: tuple[str, ...]
) -> None:
    assert cost_notice(report(10, 460), replace(SETTINGS, thresholds=thresholds), (), LONG_AGO).keys == keys


UNUSUAL = UnusualDay(date(2026, 11, 13), Decimal("65.5"), Decimal(10), ("AWS Data Transfer", "Amazon S3"))


@pytest.mark.parametrize(
    ("since", "known", "keys"),
    [
        (LONG_AGO, (), ("day 2026-11-13",)),
        (date(2026, 11, 13), (), ("day 2026-11-13",)),
        (date(2026, 11, 14), (), ()),
        (LONG_AGO, ("day 2026-11-13",), ()),
    ],
)
def test_an_unusual_day_is_news_once(since: date, known: tuple[str, ...], keys: tuple[str, ...]) -> None:
    assert cost_notice(replace(report(10), unusual_days=(UNUSUAL,)), SETTINGS, known, since).keys == keys


def test_all_news_is_one_message() -> None:
    notice = cost_notice(
        replace(report(241.2, 412), unusual_days=(UNUSUAL,), credits=Decimal(-80)), SETTINGS, (), LONG_AGO
    )
    assert notice.title == (
        "80 % of the budget is spent; the forecast exceeds the budget; "
        "Nov 13 cost 65.50 USD, usually 10.00 (AWS Data Transfer, Amazon S3)"
    )
    assert notice.text == (
        "241.20 USD spent of 300.00 (80 %) with 51 % of November gone; forecast 412.00 USD (137 %).\n"
        "Biggest changes from the same days of last month: Amazon EC2 +0.00, Amazon RDS +0.00, Amazon S3 +0.00.\n"
        "Credits and refunds, not counted: -80.00 USD.\n"
        "https://example.invalid/bill"
    )


@pytest.mark.parametrize(
    ("found", "findings"),
    [
        (report(150, 290), []),
        (report(300, 320), ["the budget is spent"]),
        (report(200, 320), ["the forecast exceeds the budget"]),
        (replace(report(10), unusual_days=(UNUSUAL,)), [sentences.unusual_day(UNUSUAL, "USD")]),
        (replace(report(10), unusual_days=(replace(UNUSUAL, day=date(2026, 11, 12)),)), []),
    ],
)
def test_a_finding_is_an_exceeded_budget_or_a_recent_unusual_day(found: CostReport, findings: list[str]) -> None:
    assert cost_findings(found, SETTINGS) == findings
