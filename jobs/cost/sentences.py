"""Money, thresholds and days as a person says them. Pure."""

from __future__ import annotations

from decimal import Decimal

from jobs.cost.report import Report, Service, StandOut

_VERBS = {"spent": "is spent", "forecast": "is forecast to be spent"}


def money(amount: Decimal, currency: str = "") -> str:
    """To the cent, with thousands apart: 1,234.50 USD."""
    rounded = amount.quantize(Decimal("0.01")) + 0  # and no minus zero
    return f"{rounded:,} {currency}".strip()


def change(amount: Decimal) -> str:
    """With its sign: +12.00, -3.20."""
    return f"{'-' if amount < 0 else '+'}{money(abs(amount))}"


def percent(number: Decimal) -> str:
    """Whole per cent; never 100 before it is."""
    return f"{int(number)} %"


def over(what: str, threshold: int) -> str:
    """A threshold that was crossed."""
    if threshold == 100:
        return "the budget is spent" if what == "spent" else "the forecast passes the budget"
    return f"{threshold} % of the budget {_VERBS[what]}"


def under(what: str, threshold: int) -> str:
    """A threshold that is behind us again."""
    whole = "the budget" if threshold == 100 else f"{threshold} % of the budget"
    return f"the {'forecast' if what == 'forecast' else 'amount spent'} is back under {whole}"


def stands_out(one: StandOut, currency: str) -> str:
    """An odd day."""
    by = f" by {', '.join(one.services)}" if one.services else ""
    return f"{one.day:%b %d} stands out{by}: {money(one.amount, currency)}, usual is {money(one.usual)}"


def spent(report: Report) -> str:
    """The three numbers that matter."""
    month = f"{report.month:%B}"
    so_far = (
        f"{money(report.spent, report.currency)} spent of {money(report.budget)} "
        f"({percent(report.percent(report.spent))}) with {percent(report.gone)} of {month} gone"
    )
    return f"{so_far}; {forecast(report)}"


def forecast(report: Report) -> str:
    """What the month will come to."""
    if report.forecast is None:
        return "no forecast yet"
    return f"forecast {money(report.forecast, report.currency)} ({percent(report.percent(report.forecast))})"


def facts(report: Report) -> str:
    """What an alert says below its title."""
    lines = [f"{spent(report)}."]
    if report.moved:
        compared = any(one.change is not None for one in report.moved)
        most = "Moved most against the same days of last month" if compared else "Cost most"
        lines.append(f"{most}: {', '.join(moved(one) for one in report.moved)}.")
    if report.credits:
        lines.append(f"Credits and refunds, not counted: {money(report.credits, report.currency)}.")
    return "\n".join([*lines, report.link])


def moved(one: Service) -> str:
    """A service and by how much it moved."""
    return f"{one.name} {money(one.spent) if one.change is None else change(one.change)}"
