"""Money, thresholds and days as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from jobs.cost.bill import Commitments
from jobs.cost.growth import Cause, Growth
from jobs.cost.report import CostReport, Service, UnusualDay
from jobs.cost.shares import OwnerSpending, StackSpending, Untagged, used_percent
from jobs.format import and_more

MOST_OWNERS = 6


def format_money(amount: Decimal, currency: str = "") -> str:
    """Return an amount to the cent, with a thousands separator: 1,234.50 USD."""
    rounded = amount.quantize(Decimal("0.01")) + 0  # + 0 turns -0.00 into 0.00
    return f"{rounded:,} {currency}".strip()


def format_change(amount: Decimal) -> str:
    """Return an amount with its sign: +12.00, -3.20."""
    return f"{'-' if amount < 0 else '+'}{format_money(abs(amount))}"


def format_percent(number: Decimal) -> str:
    """Return whole percent, rounded down so that 99.99 is not shown as 100 %."""
    return f"{int(number)} %"


def over_threshold(what: str, threshold: int) -> str:
    """Return the sentence for a threshold that was reached."""
    share = "the budget" if threshold == 100 else f"{threshold} % of the budget"
    return f"{share} is spent" if what == "spent" else f"the forecast exceeds {share}"


def back_under_threshold(what: str, threshold: int) -> str:
    """Return the sentence for an amount that fell below a threshold again."""
    share = "the budget" if threshold == 100 else f"{threshold} % of the budget"
    return f"{'the forecast' if what == 'forecast' else 'spending'} is back under {share}"


def stack_over_threshold(stack: StackSpending, threshold: int, currency: str) -> str:
    """Return the sentence for a stack that reached a threshold of its budget."""
    amounts = f"{format_money(stack.spent)} of {format_money(stack.budget, currency)}"
    return f"stack {stack.name}: {_share_of_its_budget(threshold)} is spent ({amounts})"


def stack_under_threshold(stack: StackSpending, threshold: int) -> str:
    """Return the sentence for a stack whose spending fell below a threshold again."""
    return f"stack {stack.name} is back under {_share_of_its_budget(threshold)}"


def _share_of_its_budget(threshold: int) -> str:
    return "its budget" if threshold == 100 else f"{threshold} % of its budget"


def growth(growth: Growth, report: CostReport) -> str:
    """Return the sentence for a service that costs more since a day."""
    causes = ", ".join(_cause(cause, owned=bool(report.owners)) for cause in growth.causes)
    grew = f"{growth.service} grew by {format_money(growth.amount, report.currency)} since {growth.since:%a %b %d}"
    return f"{grew}: {causes}" if causes else grew


def _cause(cause: Cause, *, owned: bool) -> str:
    owner = f" (owner: {cause.owner})" if cause.owner else " (no owner)" if owned else ""
    return f"{cause.what} {'added' if cause.added else 'grew'}{owner}"


def untagged(untagged: Untagged, currency: str) -> str:
    """Return the sentence for usage without a tag."""
    amount, services = format_money(untagged.amount, currency), ", ".join(untagged.services)
    return f"{format_percent(untagged.percent)} of usage has no tag {untagged.tag}: {amount} ({services})"


def commitments(commitments: Commitments, currency: str) -> str:
    """Return how much of the savings plans and reservations was used."""
    unused = f"{format_money(commitments.unused)} of {format_money(commitments.total, currency)} unused"
    return f"{format_percent(used_percent(commitments))} of commitments used, {unused}"


def by_owner(owners: Sequence[OwnerSpending], currency: str) -> str:
    """Return the owners whose resources cost most."""
    most = [f"{owner.name or '(no owner)'} {format_money(owner.spent)}" for owner in owners]
    return f"By owner, in {currency}: {and_more(most, MOST_OWNERS)}"


def stack(stack: StackSpending, currency: str) -> str:
    """Return what a stack cost of its budget."""
    percent = format_percent(100 * stack.spent / stack.budget)
    return f"Stack {stack.name}: {format_money(stack.spent)} of {format_money(stack.budget, currency)} ({percent})"


def details(report: CostReport) -> list[str]:
    """Return unusual days, what grew, what stacks and owners spent, what has no tag, and the use of commitments."""
    return [
        *(unusual_day(each, report.currency) for each in report.unusual_days),
        *(growth(each, report) for each in report.growths),
        *(stack(each, report.currency) for each in report.stacks),
        *([by_owner(report.owners, report.currency)] if report.owners else []),
        *(untagged(each, report.currency) for each in report.untagged),
        *([commitments(report.commitments, report.currency)] if report.commitments else []),
    ]


def unusual_day(unusual: UnusualDay, currency: str) -> str:
    """Return the sentence for an unusually expensive day."""
    services = f" ({', '.join(unusual.services)})" if unusual.services else ""
    amount = format_money(unusual.amount, currency)
    return f"{unusual.day:%b %d} cost {amount}, usually {format_money(unusual.usual)}{services}"


def spent(report: CostReport) -> str:
    """Return spending against the budget, the share of the month that is over, and the forecast."""
    month = f"{report.month:%B}"
    so_far = (
        f"{format_money(report.spent, report.currency)} spent of {format_money(report.budget)} "
        f"({format_percent(report.percent(report.spent))}) with {format_percent(report.month_gone)} of {month} gone"
    )
    return f"{so_far}; {forecast(report)}"


def forecast(report: CostReport) -> str:
    """Return the forecast for the whole month."""
    if report.forecast is None:
        return "no forecast yet"
    amount, percent = format_money(report.forecast, report.currency), report.percent(report.forecast)
    return f"forecast {amount} ({format_percent(percent)})"


def alert_text(report: CostReport, title: Sequence[str] = ()) -> str:
    """Return the body of an alert, without the sentences in its title."""
    lines = [f"{spent(report)}."]
    if report.biggest_changes:
        compared = any(service.change is not None for service in report.biggest_changes)
        label = "Biggest changes from the same days of last month" if compared else "Most expensive"
        lines.append(f"{label}: {', '.join(service_change(service) for service in report.biggest_changes)}.")
    lines += [f"{line}." for line in details(report) if line not in title]
    if report.credits:
        lines.append(f"Credits and refunds, not counted: {format_money(report.credits, report.currency)}.")
    if report.others:
        lines.append(f"{other_currencies(report)}.")
    return "\n".join([*lines, *([report.link] if report.link else [])])


def other_currencies(report: CostReport) -> str:
    """Return this month's charges in other currencies."""
    amounts = " and ".join(format_money(amount, currency) for currency, amount in report.others.items())
    return f"Charges in other currencies, not counted: {amounts}"


def service_change(service: Service) -> str:
    """Return a service and its change from last month, or its cost if there is nothing to compare with."""
    return f"{service.name} {format_money(service.spent) if service.change is None else format_change(service.change)}"
