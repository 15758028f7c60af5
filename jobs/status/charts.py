"""Small SVG charts, each with a description for screen readers. Pure."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Sequence
from itertools import accumulate

from markupsafe import Markup

from jobs.cost import sentences
from jobs.cost.report import CostReport
from jobs.format import format_size

LINE_WIDTH, LINE_HEIGHT = 120, 28
WIDTH, HEIGHT = 340, 150
LEFT, RIGHT, TOP, BOTTOM = 4, 336, 18, 132

Point = tuple[float, float]


def size_trend(values: Sequence[int]) -> Markup:
    """Return a line chart of sizes, oldest first; empty for fewer than two."""
    if len(values) < 2:
        return Markup()
    low, high = min(values), max(values)
    step, height = (LINE_WIDTH - 8) / (len(values) - 1), LINE_HEIGHT - 8
    points = [
        (4 + at * step, 4 + height / 2 if high == low else LINE_HEIGHT - 4 - height * (value - low) / (high - low))
        for at, value in enumerate(values)
    ]
    description = f"Size of the last {len(values)} backups: from {format_size(values[0])} to {format_size(values[-1])}"
    x, y = points[-1]
    return Markup(
        '<svg class="trend" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" aria-label="{description}">'
        '<title>{description}</title><polyline points="{line}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="3"/></svg>'
    ).format(w=LINE_WIDTH, h=LINE_HEIGHT, description=description, line=_line(points), x=x, y=y)


def spending_chart(report: CostReport) -> Markup:
    """Return a chart of the month's spending by day, the forecast and the budget."""
    days = monthrange(report.month.year, report.month.month)[1]
    sums = list(accumulate(float(amount) for _, amount in report.days))
    budget, forecast = float(report.budget), float(report.forecast) if report.forecast is not None else None
    top = max(budget, forecast or 0, *sums, 0.01) * 1.08

    def point(day: float, amount: float) -> Point:
        return LEFT + (RIGHT - LEFT) * day / days, BOTTOM - (BOTTOM - TOP) * max(0.0, amount) / top

    spent = [point(0, 0), *(point(number, amount) for number, amount in enumerate(sums, 1))]
    _, height = point(0, budget)
    x, y = spent[-1]
    ahead = _line([spent[-1], point(days, forecast)]) if forecast is not None else ""
    return Markup(
        '<svg class="spending" viewBox="0 0 {w} {h}" role="img" aria-label="{description}"><title>{description}</title>'
        '<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>'
        '<line class="budget" x1="{left}" y1="{height:.1f}" x2="{right}" y2="{height:.1f}"/>'
        '<text x="{left}" y="{above:.1f}">budget {budget}</text>'
        '<polyline class="ahead" points="{ahead}"/><polyline class="spent" points="{line}"/>'
        '<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        '<text x="{left}" y="{under}">{first}</text><text class="end" x="{right}" y="{under}">{last}</text></svg>'
    ).format(
        w=WIDTH, h=HEIGHT, description=f"{sentences.spent(report)}.", left=LEFT, right=RIGHT, bottom=BOTTOM,
        height=height,
        above=height - 4, budget=sentences.format_money(report.budget, report.currency), ahead=ahead, line=_line(spent),
        x=x, y=y,
        under=BOTTOM + 14, first=f"{report.month:%b} 1", last=f"{report.month:%b} {days}",
    )  # fmt: skip


def _line(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
