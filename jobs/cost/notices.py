"""Decide which facts of a cost report are news: each threshold once a month, each unusual day once. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from jobs.cost import sentences
from jobs.cost.report import CostReport
from jobs.run.job import Notice, Severity

WHOLE = 100
UNDER = "under"  # at the end of the key of an amount that fell below a threshold again
MARGIN = 2  # "back under" needs this many percent of the budget below the threshold, so that 99, 100, 99 is one notice


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One piece of news: the key that marks it as sent, and its text."""

    key: str
    text: str


def cost_notice(report: CostReport, thresholds: Sequence[int], known: Collection[str], since: date) -> Notice:
    """Return all news in one notice; unusual days count from `since` on."""
    lines = [*threshold_lines(report, thresholds, known), *_unusual_day_lines(report, known, since)]
    if not lines:
        return Notice()
    return Notice(
        keys=tuple(line.key for line in lines),
        title="; ".join(line.text for line in lines),
        text=sentences.alert_text(report),
        severity=Severity.SUCCESS if all(line.key.endswith(UNDER) for line in lines) else Severity.WARNING,
    )


def threshold_lines(report: CostReport, thresholds: Sequence[int], known: Collection[str]) -> Iterator[NoticeLine]:
    """Yield the news about the amount spent, and about a forecast that exceeds the budget."""
    spent = _crossings(report, "spent", report.spent, thresholds, known)
    yield from spent
    if report.forecast is None:
        return
    budget_spent = _reaches(report.spent, report.budget, WHOLE)
    forecast_thresholds = sorted({WHOLE, *(threshold for threshold in thresholds if threshold > WHOLE)})
    for line in _crossings(report, "forecast", report.forecast, forecast_thresholds, known):
        if not budget_spent or line.key.endswith(UNDER):  # once the budget is spent, the forecast adds nothing
            yield line


def _crossings(
    report: CostReport, what: str, amount: Decimal, thresholds: Sequence[int], known: Collection[str]
) -> list[NoticeLine]:
    """Return the highest threshold reached and the lowest one undercut again, unless already sent this month."""

    def key(threshold: int) -> str:
        return f"{report.month:%Y-%m} {what} {threshold}"

    def under_key(threshold: int) -> str:
        return f"{key(threshold)} {UNDER}"

    reached = max((each for each in thresholds if _reaches(amount, report.budget, each)), default=None)
    sent = [each for each in thresholds if key(each) in known]
    lines = []
    if reached is not None and reached > max(sent, default=0):
        lines.append(NoticeLine(key(reached), sentences.over_threshold(what, reached)))
    undercut = min((each for each in sent if not _reaches(amount, report.budget, each - MARGIN)), default=None)
    if undercut is not None and not any(under_key(each) in known for each in thresholds if each <= undercut):
        lines.append(NoticeLine(under_key(undercut), sentences.back_under_threshold(what, undercut)))
    return lines


def _reaches(amount: Decimal, budget: Decimal, threshold: int) -> bool:
    return amount > 0 and 100 * amount >= threshold * budget


def _unusual_day_lines(report: CostReport, known: Collection[str], since: date) -> Iterator[NoticeLine]:
    for unusual in report.unusual_days:
        line = NoticeLine(f"day {unusual.day}", sentences.unusual_day(unusual, report.currency))
        if unusual.day >= since and line.key not in known:
            yield line


def cost_findings(report: CostReport) -> list[str]:
    """Return the findings: the budget is or will be exceeded, or one of the last three days is unusual."""
    findings = []
    if _reaches(report.spent, report.budget, WHOLE):
        findings.append(sentences.over_threshold("spent", WHOLE))
    elif report.forecast is not None and _reaches(report.forecast, report.budget, WHOLE):
        findings.append(sentences.over_threshold("forecast", WHOLE))
    recent = report.today - timedelta(days=3)
    unusual = (day for day in report.unusual_days if day.day >= recent)
    return findings + [sentences.unusual_day(day, report.currency) for day in unusual]
