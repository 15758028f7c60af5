"""Random cron lines of many forms."""

from __future__ import annotations

import random

from cronsim import CronSim, CronSimError

MINUTES = ("0", "30", "*/15", "5,35", "7-9", "*", "10/20", "59")
HOURS = ("2", "*", "*/6", "1-5", "0,2,12", "23", "3/7", "0-23")
DATES = ("*", "*", "*", "1", "15", "1,15", "*/10", "28-31", "29")
MONTHS = ("*", "*", "*", "1", "MAR,OCT", "3,10-11", "*/4", "2")
WEEKDAYS = ("*", "*", "*", "0", "7", "MON-FRI", "SAT,SUN", "*/2", "5-7")
CRONSIM_ONLY = (
    "0 2 L * *", "0 2 LW * *", "0 2 * * MON#2", "0 2 * * 5L", "0 2 L * */2", "0 2 */2 * MON#1", "0 2 1 * FRI#3",
    "15 3 * * SUN#5", "0 2 LW * */3", "0 2 10,L * *",
)  # fmt: skip


def random_lines(count: int, seed: int) -> list[str]:
    """Return `count` different plain lines; the same seed gives the same lines."""
    dice = random.Random(seed)
    lines: dict[str, None] = {}
    while len(lines) < count:
        line = " ".join(dice.choice(choices) for choices in (MINUTES, HOURS, DATES, MONTHS, WEEKDAYS))
        if _is_possible(line):
            lines[line] = None
    return list(lines)


def _is_possible(line: str) -> bool:
    from datetime import UTC, datetime

    try:
        CronSim(line, datetime.now(UTC))
    except CronSimError:
        return False
    return True
