"""What of a report is news, and how it is said."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from jobs.cost import sentences
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import CostReport, UnusualDay, report_on
from tests.parts.bills import Account, at

THRESHOLDS = (50, 80, 100)
LONG_AGO = date(2026, 1, 1)


def report(spent: float, forecast: float | None = None) -> CostReport:
    whole = report_on(Account().bill(at("2026-11-16")), 300, "USD")
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
        (240, 290, (), (SPENT_80,)),  # the highest one says it all
        (300, 310, (SPENT_80,), (SPENT_100,)),  # and needs no forecast any more
        (299, 300, (SPENT_80,), (FORECAST,)),
        (299, 299.99, (SPENT_80,), ()),
        (310, 320, (SPENT_80, FORECAST), (SPENT_100,)),
        (310, 320, (SPENT_100,), ()),
        (299, None, (SPENT_100,), ()),  # a few cents less are not back under
        (293, 299, (SPENT_100,), (f"{SPENT_100} under",)),
        (293, 299, (SPENT_100, f"{SPENT_100} under"), ()),
        (310, 320, (SPENT_100, f"{SPENT_100} under"), ()),  # once a month
        (100, 290, (SPENT_50, SPENT_80, SPENT_100), (f"{SPENT_50} under",)),  # the lowest one says it all
        (100, 290, (SPENT_50, SPENT_80, f"{SPENT_50} under"), ()),
        (220, 290, (SPENT_50, SPENT_80, SPENT_100, f"{SPENT_100} under"), (f"{SPENT_80} under",)),
        (200, 293, (SPENT_50, FORECAST), (f"{FORECAST} under",)),
        (200, 299, (SPENT_50, FORECAST), ()),
        (200, None, (SPENT_50, FORECAST), ()),  # no forecast today is not a low one
        (150, 290, ("2026-10 spent 50",), (SPENT_50,)),  # another month
        (-20, None, (), ()),
        (-20, None, (SPENT_50,), (f"{SPENT_50} under",)),
    ],
)
def test_each_threshold_once_a_month_and_the_way_back(
    spent: float, forecast: float | None, known: tuple[str, ...], keys: tuple[str, ...]
) -> None:
    assert cost_notice(report(spent, forecast), THRESHOLDS, known, LONG_AGO).keys == keys


@pytest.mark.parametrize(
    ("thresholds", "keys"), [((50,), (FORECAST,)), ((150,), ("2026-11 forecast 150",)), ((), (FORECAST,))]
)
def test_a_forecast_over_the_budget_is_told_whatever_the_thresholds(
    thresholds: tuple[int, ...], keys: tuple[str, ...]
) -> None:
    assert cost_notice(report(10, 460), thresholds, (), LONG_AGO).keys == keys


ODD = UnusualDay(date(2026, 11, 13), Decimal("65.5"), Decimal(10), ("AWS Data Transfer", "Amazon S3"))


@pytest.mark.parametrize(
    ("since", "known", "keys"),
    [
        (LONG_AGO, (), ("day 2026-11-13",)),
        (date(2026, 11, 13), (), ("day 2026-11-13",)),
        (date(2026, 11, 14), (), ()),
        (LONG_AGO, ("day 2026-11-13",), ()),
    ],
)
def test_a_day_that_stands_out_is_told_once(since: date, known: tuple[str, ...], keys: tuple[str, ...]) -> None:
    assert cost_notice(replace(report(10), stand_outs=(ODD,)), THRESHOLDS, known, since).keys == keys


def test_all_that_is_news_is_one_message() -> None:
    found = cost_notice(replace(report(241.2, 412), stand_outs=(ODD,), credits=Decimal(-80)), THRESHOLDS, (), LONG_AGO)
    assert found.title == (
        "80 % of the budget is spent; the forecast passes the budget; "
        "Nov 13 stands out by AWS Data Transfer, Amazon S3: 65.50 USD, usual is 10.00"
    )
    assert found.text == (
        "241.20 USD spent of 300.00 (80 %) with 51 % of November gone; forecast 412.00 USD (137 %).\n"
        "Moved most against the same days of last month: Amazon EC2 +0.00, Amazon RDS +0.00, Amazon S3 +0.00.\n"
        "Credits and refunds, not counted: -80.00 USD.\n"
        "https://example.invalid/bill"
    )


def test_on_the_first_a_message_says_what_cost_most() -> None:
    whole = report_on(Account().bill(at("2026-11-01")), 300, "USD")
    assert "\nCost most: Amazon EC2 5.00, Amazon RDS 3.00, Amazon S3 2.00.\n" in sentences.alert_text(whole)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (report(150, 290), []),
        (report(300, 320), ["the budget is spent"]),
        (report(200, 320), ["the forecast passes the budget"]),
        (replace(report(10), stand_outs=(ODD,)), [sentences.unusual_day(ODD, "USD")]),
        (replace(report(10), stand_outs=(replace(ODD, day=date(2026, 11, 12)),)), []),
    ],
)
def test_a_finding_is_what_somebody_should_look_at_now(found: CostReport, says: list[str]) -> None:
    assert cost_findings(found) == says


@pytest.mark.parametrize(
    ("amount", "said"),
    [("1234.5", "1,234.50 USD"), ("-0.001", "0.00 USD"), ("-3.2", "-3.20 USD"), ("0.005", "0.00 USD")],
)
def test_money_is_said_to_the_cent(amount: str, said: str) -> None:
    assert sentences.format_money(Decimal(amount), "USD") == said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (sentences.over_threshold("spent", 100), "the budget is spent"),
        (sentences.over_threshold("spent", 80), "80 % of the budget is spent"),
        (sentences.over_threshold("forecast", 100), "the forecast passes the budget"),
        (sentences.over_threshold("forecast", 150), "150 % of the budget is forecast to be spent"),
        (sentences.back_under_threshold("spent", 80), "the amount spent is back under 80 % of the budget"),
        (sentences.back_under_threshold("forecast", 100), "the forecast is back under the budget"),
        (sentences.format_percent(Decimal("99.99")), "99 %"),
    ],
)
def test_thresholds_are_said(line: str, said: str) -> None:
    assert line == said
