"""Durations, times, sizes and counts as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from jobs.format import and_more, format_duration, format_size, format_time, plural

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (95, "1 min 35 s"),
        (3 * 60 + 20, "3 min"),
        (3600, "1 h"),
        (4800, "1 h 20 min"),
        (5 * 3600 + 1800, "5 h"),
        (86400 + 7200, "1 d 2 h"),
        (40 * 86400, "40 d"),
    ],
)
def test_a_duration_is_in_its_largest_unit(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (datetime(2026, 11, 21, 1, 0, tzinfo=UTC), "02:00"),
        (datetime(2026, 11, 20, 22, 30, tzinfo=UTC), "Nov 20 23:30"),
        (datetime(2026, 11, 20, 23, 30, tzinfo=UTC), "00:30"),
        (datetime(2025, 11, 20, 23, 30, tzinfo=UTC), "2025-11-21 00:30"),
    ],
)
def test_a_time_is_as_short_as_possible_in_the_timezone_of_the_environment(when: datetime, text: str) -> None:
    assert format_time(when, NOW, BERLIN) == text


def test_a_number_has_its_noun_in_singular_or_plural() -> None:
    assert [plural(n, "run") for n in (0, 1, 2, 1200)] == ["0 runs", "1 run", "2 runs", "1,200 runs"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (99_960, "100 kB"),
        (999_600, "1.0 MB"),
        (1_400_000_000, "1.4 GB"),
        (2.5e15, "2500.0 TB"),
    ],
)
def test_a_size_is_in_the_unit_that_fits(number: float, text: str) -> None:
    assert format_size(number) == text


@pytest.mark.parametrize(
    ("shown", "where", "text"),
    [
        (3, "", "a; b; c"),
        (2, "", "a; b; and 1 more"),
        (1, "", "a; and 2 more"),
        (1, "in the log", "a; and 2 more, in the log"),
        (3, "in the log", "a; b; c"),
    ],
)
def test_lists_the_first_items_and_counts_the_rest(shown: int, where: str, text: str) -> None:
    assert and_more(["a", "b", "c"], shown, where) == text
