"""The fields of a cron line as numbers, for schedulers that know fewer forms than cronsim."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cronsim import CronSim

from jobs.schedule.export import UnsupportedSchedule

NAMES = ("minute", "hour", "day of the month", "month", "day of the week")
PLAIN = re.compile(r"(\*|\d+-\d+)(/\d+)?|\d+")
REMEDY = "write the days as numbers, export to systemd, or use crew schedule run"


def ranges(numbers: Iterable[int], between: str, digits: int = 1) -> str:
    """Return numbers as a list in which three or more consecutive numbers become a range."""
    rows: list[list[int]] = []
    for number in sorted(numbers):
        if rows and rows[-1][-1] == number - 1:
            rows[-1].append(number)
        else:
            rows.append([number])
    texts = [[f"{number:0{digits}}" for number in row] for row in rows]
    return ",".join(between.join((row[0], row[-1])) if len(row) > 2 else ",".join(row) for row in texts)


def portable_fields(line: str) -> tuple[str, ...]:
    """Return the five fields in a form that every cron reads: unchanged if possible, else as numbers."""
    parsed = CronSim(line, datetime.now(UTC))
    days_of_the_week: set[Any] = {day % 7 if isinstance(day, int) else day for day in parsed.weekdays}
    values: list[set[Any]] = [parsed.minutes, parsed.hours, parsed.days, parsed.months, days_of_the_week]
    return tuple(_field(line, *field) for field in zip(NAMES, line.split(), values, strict=True))


def _field(line: str, name: str, text: str, values: set[Any]) -> str:
    if not all(isinstance(value, int) and value >= 0 for value in values):
        raise UnsupportedSchedule(f'"{line}": this scheduler does not support {text} as the {name}; {REMEDY}')
    is_plain = all(PLAIN.fullmatch(term) for term in text.split(","))
    is_sunday_seven = name == NAMES[4] and "7" in text
    return text if is_plain and not is_sunday_seven else ranges(values, "-")
