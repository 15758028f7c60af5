"""Months of the bill."""

from __future__ import annotations

from datetime import date

import pytest

from jobs.cost.bill import month_after, month_before


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
