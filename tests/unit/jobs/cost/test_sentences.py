"""Money, thresholds and days as text."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inventories import Cost
from jobs.cost import sentences
from jobs.cost.report import report_on
from tests.parts.bills import Account, at


def test_on_the_first_a_message_names_the_most_expensive_services() -> None:
    whole = report_on(Account().bill(at("2026-11-01")), Cost(budget=300))
    assert "\nMost expensive: Amazon EC2 5.00, Amazon RDS 3.00, Amazon S3 2.00.\n" in sentences.alert_text(whole)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("1234.5", "1,234.50 USD"), ("-0.001", "0.00 USD"), ("-3.2", "-3.20 USD"), ("0.005", "0.00 USD")],
)
def test_money_is_shown_to_the_cent(amount: str, text: str) -> None:
    assert sentences.format_money(Decimal(amount), "USD") == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (sentences.over_threshold("spent", 100), "the budget is spent"),
        (sentences.over_threshold("spent", 80), "80 % of the budget is spent"),
        (sentences.over_threshold("forecast", 100), "the forecast exceeds the budget"),
        (sentences.over_threshold("forecast", 150), "the forecast exceeds 150 % of the budget"),
        (sentences.back_under_threshold("spent", 80), "spending is back under 80 % of the budget"),
        (sentences.back_under_threshold("forecast", 100), "the forecast is back under the budget"),
        (sentences.format_percent(Decimal("99.99")), "99 %"),
    ],
)
def test_threshold_sentences(line: str, text: str) -> None:
    assert line == text
