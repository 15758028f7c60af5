"""Small SVG charts, each with a description for screen readers. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise

from markupsafe import Markup

from jobs.cost import sentences
from jobs.cost.report import CostReport
from jobs.status.days import MarkedDays
from jobs.status.history import DAYS

LINE_HEIGHT = 26
DAY_WIDTH = 4
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 4, 336, 18, 132

Point = tuple[float, float]

_RECTANGLE = Markup("<rect x=%d width=%d><title>%s</title></rect>")


def day_strip(days: Sequence[MarkedDays], description: str) -> Markup:
    """Return a strip of days, each of one mark. The patterns of the page draw the marks; a hover shows their text."""
    groups = Markup().join(
        Markup("<g class={}>{}</g>").format(mark.name[0].lower(), Markup().join(map(_rectangle, of_mark)))
        for mark, of_mark in groupby(sorted(days, key=lambda each: each.mark), key=lambda each: each.mark)
    )
    return Markup(
        '<svg class=strip viewBox="0 0 {} 20" preserveAspectRatio=none role=img aria-label="{}">{}</svg>'
    ).format(DAYS * DAY_WIDTH, description, groups)


def _rectangle(days: MarkedDays) -> Markup:
    # A page has thousands of them, and % takes half of the time of format().
    return _RECTANGLE % (days.first * DAY_WIDTH, days.days * DAY_WIDTH, days.text)


def day_chart(values: Sequence[float | None], description: str) -> Markup:
    """Return a line from zero to the highest value, a day per pixel; empty for fewer than two days with a value."""
    points = [(day, value) for day, value in enumerate(values) if value is not None]
    top = max((value for _, value in points), default=0)
    if len(points) < 2 or not top:
        return Markup()
    spots = _corners([(day, round(LINE_HEIGHT * (1 - value / top))) for day, value in points])
    steps = "".join(f"l{b[0] - a[0]} {b[1] - a[1]}".replace(" -", "-") for a, b in pairwise(spots))
    return Markup(
        '<svg class=trend viewBox="0 -1 {} {}" preserveAspectRatio=none role=img aria-label="{}">'
        '<path class=axis d="M0 {}h{}"/><path d="M{} {}{}"/></svg>'
    ).format(len(values), LINE_HEIGHT + 2, description, LINE_HEIGHT, len(values), *spots[0], steps)


def _corners(spots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the points without those inside a level line."""
    inner = range(1, len(spots) - 1)
    return [
        spot for at, spot in enumerate(spots) if at not in inner or {spots[at - 1][1], spots[at + 1][1]} != {spot[1]}
    ]


def lane(minutes: Sequence[tuple[int, str]], description: str) -> Markup:
    """Return the next 24 hours of one job: a mark at each minute, with its text."""
    marks = Markup().join(
        Markup('<path d="M{} 0v10"><title>{}</title></path>').format(minute, text) for minute, text in minutes
    )
    return Markup(
        '<svg class=lane viewBox="0 0 1440 10" preserveAspectRatio=none role=img aria-label="{}">{}</svg>'
    ).format(description, marks)


def spending_chart(report: CostReport) -> Markup:
    """Return a chart of the month's spending by day, the month before, the forecast and the budget."""
    days = monthrange(report.month.year, report.month.month)[1]
    sums = list(accumulate(float(amount) for _, amount in report.days))
    budget, forecast = float(report.budget), float(report.forecast) if report.forecast is not None else None
    before = list(accumulate(float(amount) for _, amount in report.last_month))
    top = max(budget, forecast or 0, *sums, *before, 0.01) * 1.08

    def point(day: float, amount: float) -> Point:
        return LEFT + (RIGHT - LEFT) * day / days, BOTTOM - (BOTTOM - TOP) * max(0.0, amount) / top

    spent = [point(0, 0), *(point(number, amount) for number, amount in enumerate(sums, 1))]
    earlier = [point(number, amount) for number, amount in enumerate([0.0, *before[:days]])] if before else []
    _, height = point(0, budget)
    x, y = spent[-1]
    ahead = _line([spent[-1], point(days, forecast)]) if forecast is not None else ""
    return Markup(
        '<svg class="spending" viewBox="0 0 {w} {h}" role="img" aria-label="{description}"><title>{description}</title>'
        '<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
        '<line class="budget" x1="{left}" y1="{height:.1f}" x2="{right}" y2="{height:.1f}"/>'
        '<text x="{left}" y="{above:.1f}">budget {budget}</text>'
        '<polyline class="before" points="{earlier}"/><polyline class="ahead" points="{ahead}"/>'
        '<polyline class="spent" points="{line}"/>'
        '<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        '<text x="{left}" y="{under}">{first}</text><text class="end" x="{right}" y="{under}">{last}</text></svg>'
    ).format(
        w=WIDTH, h=HEIGHT, description=f"{sentences.spent(report)}.", left=LEFT, right=RIGHT, bottom=BOTTOM,
        height=height,
        above=height - 4, budget=sentences.format_money(report.budget, report.currency), ahead=ahead, line=_line(spent),
        earlier=_line(earlier),
        x=x, y=y,
        under=BOTTOM + 14, first=f"{report.month:%b} 1", last=f"{report.month:%b} {days}",
    )  # fmt: skip


def _line(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
