"""Decide which facts of a cost report are news: a threshold once a month, an unusual day and a rise once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import partial

from inventories import Cost
from jobs.cost import sentences
from jobs.cost.report import SAME_EVENT_DAYS, CostReport, least_excess
from jobs.cost.shares import Untagged, used_percent
from jobs.run.job import Notice, Severity

WHOLE = 100
UNDER = "under"  # at the end of the key of an amount that fell below a threshold again
MARGIN = 2  # "back under" needs this many percent of the budget below the threshold, so that 99, 100, 99 is one notice


@dataclass(frozen=True, slots=True)
class NoticeLine:
    """One piece of news: the key that marks it as sent, and its text."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Budgeted:
    """An amount that thresholds of a budget apply to: its key, and its sentences for a threshold."""

    key: str
    amount: Decimal
    budget: Decimal
    over: Callable[[int], str]
    under: Callable[[int], str]


def cost_notice(report: CostReport, settings: Cost, known: Collection[str], since: date) -> Notice:
    """Return all news in one notice; unusual days count from `since` on."""
    lines = [
        *threshold_lines(report, settings.thresholds, known),
        *_stack_lines(report, settings.thresholds, known),
        *_unusual_day_lines(report, known, since),
        *_growth_lines(report, known),
        *_waste_lines(report, settings, known),
    ]
    if not lines:
        return Notice()
    return Notice(
        keys=tuple(line.key for line in lines),
        title="; ".join(line.text for line in lines),
        text=sentences.alert_text(report, [line.text for line in lines]),
        severity=Severity.SUCCESS if all(line.key.endswith(UNDER) for line in lines) else Severity.WARNING,
    )


def threshold_lines(report: CostReport, thresholds: Sequence[int], known: Collection[str]) -> Iterator[NoticeLine]:
    """Yield the news about the amount spent, and about a forecast that exceeds the budget."""
    yield from _crossings(report, _budgeted("spent", report.spent, report.budget), thresholds, known)
    if report.forecast is None:
        return
    budget_spent = _reaches(report.spent, report.budget, WHOLE)
    forecast_thresholds = sorted({WHOLE, *(threshold for threshold in thresholds if threshold > WHOLE)})
    forecast = _budgeted("forecast", report.forecast, report.budget)
    for line in _crossings(report, forecast, forecast_thresholds, known):
        if not budget_spent or line.key.endswith(UNDER):  # once the budget is spent, the forecast adds nothing
            yield line


def _budgeted(what: str, amount: Decimal, budget: Decimal) -> Budgeted:
    """Return the spending or the forecast of the whole environment."""
    over, under = (partial(sentence, what) for sentence in (sentences.over_threshold, sentences.back_under_threshold))
    return Budgeted(what, amount, budget, over, under)


def _stack_lines(report: CostReport, thresholds: Sequence[int], known: Collection[str]) -> Iterator[NoticeLine]:
    for stack in report.stacks:
        over = partial(sentences.stack_over_threshold, stack, currency=report.currency)
        under = partial(sentences.stack_under_threshold, stack)
        budgeted = Budgeted(f"stack {stack.name}", stack.spent, stack.budget, over, under)
        yield from _crossings(report, budgeted, thresholds, known)


def _crossings(
    report: CostReport, budgeted: Budgeted, thresholds: Sequence[int], known: Collection[str]
) -> list[NoticeLine]:
    """Return the highest threshold reached and the lowest one undercut again, unless already sent this month."""

    def key(threshold: int) -> str:
        return f"{report.month:%Y-%m} {budgeted.key} {threshold}"

    def under_key(threshold: int) -> str:
        return f"{key(threshold)} {UNDER}"

    amount, budget = budgeted.amount, budgeted.budget
    reached = max((each for each in thresholds if _reaches(amount, budget, each)), default=None)
    sent = [each for each in thresholds if key(each) in known]
    lines = []
    if reached is not None and reached > max(sent, default=0):
        lines.append(NoticeLine(key(reached), budgeted.over(reached)))
    undercut = min((each for each in sent if not _reaches(amount, budget, each - MARGIN)), default=None)
    if undercut is not None and not any(under_key(each) in known for each in thresholds if each <= undercut):
        lines.append(NoticeLine(under_key(undercut), budgeted.under(undercut)))
    return lines


def _reaches(amount: Decimal, budget: Decimal, threshold: int) -> bool:
    return amount > 0 and 100 * amount >= threshold * budget


def _unusual_day_lines(report: CostReport, known: Collection[str], since: date) -> Iterator[NoticeLine]:
    for unusual in report.unusual_days:
        line = NoticeLine(f"day {unusual.day}", sentences.unusual_day(unusual, report.currency))
        if unusual.day >= since and line.key not in known:
            yield line


def _growth_lines(report: CostReport, known: Collection[str]) -> Iterator[NoticeLine]:
    """Yield each rise once; amounts that settle can move its first day."""
    for growth in report.growths:
        begin = growth.since - timedelta(days=SAME_EVENT_DAYS)
        near = {_growth_key(growth.service, begin + timedelta(days=day)) for day in range(2 * SAME_EVENT_DAYS + 1)}
        if not near & set(known):
            yield NoticeLine(_growth_key(growth.service, growth.since), sentences.growth(growth, report))


def _growth_key(service: str, since: date) -> str:
    return f"growth {since} {service}"


def _waste_lines(report: CostReport, settings: Cost, known: Collection[str]) -> Iterator[NoticeLine]:
    """Yield usage without a tag and unused commitments, each once a month."""
    lines = [
        NoticeLine(f"{report.month:%Y-%m} untagged {each.tag}", sentences.untagged(each, report.currency))
        for each in _too_much_untagged(report, settings)
    ]
    if report.commitments and _too_little_used(report, settings):
        text = sentences.commitments(report.commitments, report.currency)
        lines.append(NoticeLine(f"{report.month:%Y-%m} commitments", text))
    yield from (line for line in lines if line.key not in known)


def _too_much_untagged(report: CostReport, settings: Cost) -> list[Untagged]:
    least = least_excess(settings)
    return [each for each in report.untagged if each.percent >= settings.untagged and each.amount >= least]


def _too_little_used(report: CostReport, settings: Cost) -> bool:
    wanted, found = settings.commitments, report.commitments
    return bool(wanted and found and used_percent(found) < wanted)


def cost_findings(report: CostReport, settings: Cost) -> list[str]:
    """Return the findings: what exceeds a budget, unusual days of the last three, growth, and waste."""
    findings = []
    if _reaches(report.spent, report.budget, WHOLE):
        findings.append(sentences.over_threshold("spent", WHOLE))
    elif report.forecast is not None and _reaches(report.forecast, report.budget, WHOLE):
        findings.append(sentences.over_threshold("forecast", WHOLE))
    recent = report.today - timedelta(days=3)
    findings += [
        sentences.stack_over_threshold(stack, WHOLE, report.currency)
        for stack in report.stacks
        if _reaches(stack.spent, stack.budget, WHOLE)
    ]
    findings += [sentences.unusual_day(day, report.currency) for day in report.unusual_days if day.day >= recent]
    week = report.today - timedelta(days=SAME_EVENT_DAYS)
    findings += [sentences.growth(each, report) for each in report.growths if each.since >= week]
    return findings + [line.text for line in _waste_lines(report, settings, ())]
