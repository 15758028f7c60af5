"""What of a report is news: each threshold and each odd day once, and the way back under. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from jobs.cost import sentences
from jobs.cost.report import CostReport
from jobs.run.job import Notice

WHOLE = 100
MARGIN = 2  # per cent of the budget below a threshold that count as back under: nobody wants to hear 99, 100, 99


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One thing to tell: what it is known by, and how it is said."""

    key: str
    words: str


def cost_notice(report: CostReport, thresholds: Sequence[int], known: Collection[str], since: date) -> Notice:
    """All that is news, in one message; of the days that stand out only those since a day."""
    lines = [*threshold_lines(report, thresholds, known), *_days(report, known, since)]
    if not lines:
        return Notice()
    return Notice(
        keys=tuple(line.key for line in lines),
        title="; ".join(line.words for line in lines),
        text=sentences.alert_text(report),
    )


def threshold_lines(report: CostReport, thresholds: Sequence[int], known: Collection[str]) -> Iterator[NoticeLine]:
    """What is news of the amount spent, and of the forecast: that one only where it passes the budget."""
    spent = _crossings(report, "spent", report.spent, thresholds, known)
    yield from spent
    if report.forecast is None:
        return
    passed = _over(report.spent, report.budget, WHOLE)
    foreseen = sorted({WHOLE, *(one for one in thresholds if one > WHOLE)})
    for line in _crossings(report, "forecast", report.forecast, foreseen, known):
        if not passed or line.key.endswith("under"):  # who has spent it all needs no forecast of that
            yield line


def _crossings(
    report: CostReport, what: str, amount: Decimal, thresholds: Sequence[int], known: Collection[str]
) -> list[NoticeLine]:
    """The highest threshold that was crossed and the lowest that was left again, unless told this month."""

    def key(threshold: int) -> str:
        return f"{report.month:%Y-%m} {what} {threshold}"

    def under(threshold: int) -> str:
        return f"{key(threshold)} under"

    over = max((one for one in thresholds if _over(amount, report.budget, one)), default=None)
    told = [one for one in thresholds if key(one) in known]
    lines = []
    if over is not None and over > max(told, default=0):
        lines.append(NoticeLine(key(over), sentences.over_threshold(what, over)))
    left = min((one for one in told if not _over(amount, report.budget, one - MARGIN)), default=None)
    if left is not None and not any(under(one) in known for one in thresholds if one <= left):
        lines.append(NoticeLine(under(left), sentences.back_under_threshold(what, left)))
    return lines


def _over(amount: Decimal, budget: Decimal, threshold: int) -> bool:
    return amount > 0 and 100 * amount >= threshold * budget


def _days(report: CostReport, known: Collection[str], since: date) -> Iterator[NoticeLine]:
    for one in report.stand_outs:
        line = NoticeLine(f"day {one.day}", sentences.unusual_day(one, report.currency))
        if one.day >= since and line.key not in known:
            yield line


def cost_findings(report: CostReport) -> list[str]:
    """What somebody should look at, now: a budget passed, or to be passed, or an odd day of the last three."""
    found = []
    if _over(report.spent, report.budget, WHOLE):
        found.append("the budget is spent")
    elif report.forecast is not None and _over(report.forecast, report.budget, WHOLE):
        found.append("the forecast passes the budget")
    recent = report.today - timedelta(days=3)
    return found + [sentences.unusual_day(one, report.currency) for one in report.stand_outs if one.day >= recent]
