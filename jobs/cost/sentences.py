"""Money, thresholds and days as a person says them. Pure."""

from __future__ import annotations

from decimal import Decimal

from jobs.cost.report import CostReport, Service, UnusualDay

_VERBS = {"spent": "is spent", "forecast": "is forecast to be spent"}


def format_money(amount: Decimal, currency: str = "") -> str:
    """To the cent, with thousands apart: 1,234.50 USD."""
    rounded = amount.quantize(Decimal("0.01")) + 0  # and no minus zero
    return f"{rounded:,} {currency}".strip()


def format_change(amount: Decimal) -> str:
    """With its sign: +12.00, -3.20."""
    return f"{'-' if amount < 0 else '+'}{format_money(abs(amount))}"


def format_percent(number: Decimal) -> str:
    """Whole per cent; never 100 before it is."""
    return f"{int(number)} %"


def over_threshold(what: str, threshold: int) -> str:
    """A threshold that was crossed."""
    if threshold == 100:
        return "the budget is spent" if what == "spent" else "the forecast passes the budget"
    return f"{threshold} % of the budget {_VERBS[what]}"


def back_under_threshold(what: str, threshold: int) -> str:
    """A threshold that is behind us again."""
    whole = "the budget" if threshold == 100 else f"{threshold} % of the budget"
    return f"the {'forecast' if what == 'forecast' else 'amount spent'} is back under {whole}"


def unusual_day(one: UnusualDay, currency: str) -> str:
    """An odd day."""
    by = f" by {', '.join(one.services)}" if one.services else ""
    return f"{one.day:%b %d} stands out{by}: {format_money(one.amount, currency)}, usual is {format_money(one.usual)}"


def spent(report: CostReport) -> str:
    """The three numbers that matter."""
    month = f"{report.month:%B}"
    so_far = (
        f"{format_money(report.spent, report.currency)} spent of {format_money(report.budget)} "
        f"({format_percent(report.percent(report.spent))}) with {format_percent(report.gone)} of {month} gone"
    )
    return f"{so_far}; {forecast(report)}"


def forecast(report: CostReport) -> str:
    """What the month will come to."""
    if report.forecast is None:
        return "no forecast yet"
    return (
        f"forecast {format_money(report.forecast, report.currency)} ({format_percent(report.percent(report.forecast))})"
    )


def alert_text(report: CostReport) -> str:
    """What an alert says below its title."""
    lines = [f"{spent(report)}."]
    if report.moved:
        compared = any(one.change is not None for one in report.moved)
        most = "Moved most against the same days of last month" if compared else "Cost most"
        lines.append(f"{most}: {', '.join(service_change(one) for one in report.moved)}.")
    if report.credits:
        lines.append(f"Credits and refunds, not counted: {format_money(report.credits, report.currency)}.")
    return "\n".join([*lines, report.link])


def service_change(one: Service) -> str:
    """A service and by how much it moved."""
    return f"{one.name} {format_money(one.spent) if one.change is None else format_change(one.change)}"
