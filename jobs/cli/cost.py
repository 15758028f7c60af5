"""`crew cost`: show this month's cost and forecast against the budget."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inventories import ExitCode
from jobs.cli import arguments, output
from jobs.cli.arguments import AsJson, EnvironmentName, NotConfigured, examples, new_app

if TYPE_CHECKING:
    from jobs.cost.job import MonthReport
    from jobs.cost.report import CostReport

app = new_app()

TOP = 10
WIDTH = 30


@app.command(
    "cost", epilog=examples("crew cost production", "crew cost production --refresh", "crew cost staging --json")
)
def cost_command(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    refresh: Annotated[
        bool,
        typer.Option("--refresh", help="Read the bill again; for AWS, a page costs about one cent."),
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show this month's cloud cost and forecast, and the budget.

    Also shows the change of each service compared with the same days of last month, and days that cost much more than
    the thirty days before. Results are cached for eight hours, because AWS charges about one cent a page. Days and
    months are in UTC, as on the bill. Exits with 2 if the cost or the forecast exceeds the budget. It also exits with 2
    if one of the last three days is unusual.
    """
    from jobs.cost.job import month_report
    from jobs.cost.notices import cost_findings
    from jobs.run.documents import utc_now

    environment = arguments.open_environment(ctx, environment_name)
    if environment.cost is None:
        raise NotConfigured(
            f"{environment.name}: there is no [cost], so there is no budget. "
            f"Add [cost] to inventories/{environment.name}.toml (see: crew init --reference)."
        )
    month = month_report(environment, arguments.environment_store(environment, "cost"), utc_now(), refresh=refresh)
    problems = cost_findings(month.report, environment.cost)
    if as_json:
        output.print_json({"environment": environment.name, "findings": problems, **month_as_json(month)})
    else:
        print_month(environment.name, month, problems)
    return ExitCode.FINDING if problems else ExitCode.DONE


def print_month(name: str, month: MonthReport, problems: list[str]) -> None:
    """Print spent, budget and forecast, then the services."""
    from jobs.cost import sentences
    from jobs.cost.job import query_cost

    report = month.report
    output.say(f"{name}: {sentences.spent(report)}", output.BAD if problems else output.GOOD)
    for line in problems:
        output.say(f"  {line}", output.WARN)
    output.table(_bars(report), indent=2)
    output.say("")
    output.table(_services(report), ("service", f"{report.currency}", "change"), indent=2)
    for line in sentences.details(report):
        if line not in problems:
            output.say(f"  {line}")
    if report.credits:
        output.say(f"  Credits and refunds, not counted: {sentences.format_money(report.credits, report.currency)}")
    if report.others:
        output.say(f"  {sentences.other_currencies(report)}")
    change = "change: against the same days of last month."
    output.say(f"  {query_cost(month.cached)}; {change} {report.link}".rstrip(), output.QUIET)


def _bars(report: CostReport) -> list[tuple[output.Cell | str, ...]]:
    """Return the rows for spent, forecast and elapsed time; a full bar is the budget."""
    from jobs.cost import sentences

    rows = [("spent", report.percent(report.spent)), ("month gone", report.month_gone)]
    if report.forecast is not None:
        rows.insert(1, ("forecast", report.percent(report.forecast)))
    on_terminal = sys.stdout.isatty()
    return [
        (
            name,
            *([output.Cell(bar(number), _colour(name, number))] if on_terminal else []),
            sentences.format_percent(number),
        )
        for name, number in rows
    ]


def _colour(name: str, number: Decimal) -> str:
    if name == "month gone":
        return output.QUIET
    return output.BAD if number >= 100 else output.WARN if number >= 80 else output.GOOD


def bar(number: Decimal) -> str:
    """Return a percentage as a bar; above 100 it ends in an arrow."""
    filled = min(WIDTH, max(0, int(number * WIDTH / 100)))
    return "█" * filled + ("▶" if number > 100 else "░" * (WIDTH - filled))


def _services(report: CostReport) -> list[tuple[str, ...]]:
    """Return the most expensive services, and the others as one row."""
    from jobs.cost import sentences

    rows: list[tuple[str, ...]] = [
        (
            service.name,
            sentences.format_money(service.spent),
            "" if service.change is None else sentences.format_change(service.change),
        )
        for service in report.services[:TOP]
    ]
    others = report.services[TOP:]
    if others:
        total = sum((service.spent for service in others), Decimal())
        rows.append((f"{len(others)} others", sentences.format_money(total), ""))
    return rows


def month_as_json(month: MonthReport) -> dict[str, Any]:
    """Return the month for --json, amounts rounded to cents."""
    report, bill = month.report, month.cached.bill
    return {
        "month": f"{report.month:%Y-%m}",
        "fetched": bill.fetched,
        "fresh": month.cached.fresh,
        "pages": bill.pages,
        "currency": report.currency,
        "budget": float(report.budget),
        "spent": _rounded(report.spent),
        "spent_percent": _rounded(report.percent(report.spent)),
        "forecast": _rounded_or_none(report.forecast),
        "forecast_percent": _rounded_or_none(report.forecast and report.percent(report.forecast)),
        "month_gone_percent": _rounded(report.month_gone),
        "credits": _rounded(report.credits),
        "other_currencies": {currency: _rounded(amount) for currency, amount in report.others.items()},
        "services": [
            {
                "name": service.name,
                "spent": _rounded(service.spent),
                "change": _rounded_or_none(service.change),
            }
            for service in report.services
        ],
        "unusual_days": [
            {"day": day.day, "amount": _rounded(day.amount), "usual": _rounded(day.usual), "services": day.services}
            for day in report.unusual_days
        ],
        "growths": [
            {
                "service": growth.service,
                "since": growth.since,
                "amount": _rounded(growth.amount),
                "causes": [
                    {"what": cause.what, "added": cause.added, "owner": cause.owner or None} for cause in growth.causes
                ],
            }
            for growth in report.growths
        ],
        "owners": [{"owner": owner.name or None, "spent": _rounded(owner.spent)} for owner in report.owners],
        "stacks": [
            {"name": stack.name, "spent": _rounded(stack.spent), "budget": float(stack.budget)}
            for stack in report.stacks
        ],
        "untagged": [
            {"tag": each.tag, "amount": _rounded(each.amount), "percent": _rounded(each.percent)}
            for each in report.untagged
        ],
        "commitments": report.commitments
        and {"total": _rounded(report.commitments.total), "unused": _rounded(report.commitments.unused)},
        "days": [
            {"day": day, "amount": _rounded(amount), "estimated": day in report.estimated}
            for day, amount in report.days
        ],
        "link": report.link,
    }


def _rounded_or_none(amount: Decimal | None) -> float | None:
    return None if amount is None else _rounded(amount)


def _rounded(amount: Decimal) -> float:
    return round(float(amount), 2)
