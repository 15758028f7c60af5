"""`crew cost`: what the month costs so far, what it will come to, and what moved."""

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
def cost(
    ctx: typer.Context,
    environment_name: EnvironmentName,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask AWS again now: about one cent a page, and says how many it were.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """What the month costs, and what it will come to.

    Spent and forecast against the budget, what moved against the same days of last month, days that stand out from
    the thirty before them. Answers of AWS are kept for eight hours, for each page costs about a cent. Days and months
    are those of the bill: UTC's. Exits 2 if the budget is passed, or will be, or one of the last three days stands out.
    """
    from jobs.cost.job import month_report
    from jobs.cost.notices import cost_findings
    from jobs.run.documents import utc_now

    environment = arguments.environment(ctx, environment_name)
    if environment.cost is None:
        raise NotConfigured(
            f"{environment.name}: has no [cost], so there is no budget; add one to "
            f"inventories/{environment.name}.toml (crew init --reference shows how)"
        )
    found = month_report(environment, arguments.store(environment, "cost"), utc_now(), refresh=refresh)
    odd = cost_findings(found.report)
    if as_json:
        arguments.print_json({"environment": environment.name, "findings": odd, **cost_as_json(found)})
    else:
        show(environment.name, found, odd)
    return ExitCode.FINDING if odd else ExitCode.DONE


def show(name: str, found: MonthReport, odd: list[str]) -> None:
    """The sentence that matters, then what it is made of."""
    from jobs.cost import sentences
    from jobs.cost.job import query_cost

    report = found.report
    output.say(f"{name}: {sentences.spent(report)}", output.BAD if odd else output.GOOD)
    for line in odd:
        output.say(f"  {line}", output.WARN)
    output.table(_bars(report), indent=2)
    typer.echo()
    output.table(_services(report), ("service", f"{report.currency}", "change"), indent=2)
    for one in report.stand_outs:
        output.say(f"  {sentences.unusual_day(one, report.currency)}", output.WARN)
    if report.credits:
        output.say(f"  Credits and refunds, not counted: {sentences.format_money(report.credits, report.currency)}")
    output.say(
        f"  {query_cost(found.answer)}; change is against the same days of last month. {report.link}", output.QUIET
    )


def _bars(report: CostReport) -> list[tuple[output.Cell | str, ...]]:
    """Spent, forecast and the time gone, on one scale: the whole bar is the budget."""
    from jobs.cost import sentences

    rows = [("spent", report.percent(report.spent)), ("month gone", report.gone)]
    if report.forecast is not None:
        rows.insert(1, ("forecast", report.percent(report.forecast)))
    person = sys.stdout.isatty()
    return [
        (what, *([output.Cell(bar(number), _colour(what, number))] if person else []), sentences.format_percent(number))
        for what, number in rows
    ]


def _colour(what: str, number: Decimal) -> str:
    if what == "month gone":
        return output.QUIET
    return output.BAD if number >= 100 else output.WARN if number >= 80 else output.GOOD


def bar(number: Decimal) -> str:
    """Per cent as a bar; what is over a hundred ends in an arrow."""
    filled = min(WIDTH, max(0, int(number * WIDTH / 100)))
    return "█" * filled + ("▶" if number > 100 else "░" * (WIDTH - filled))


def _services(report: CostReport) -> list[tuple[str, ...]]:
    """The dearest, and the rest in one line."""
    from jobs.cost import sentences

    rows: list[tuple[str, ...]] = [
        (one.name, sentences.format_money(one.spent), "" if one.change is None else sentences.format_change(one.change))
        for one in report.services[:TOP]
    ]
    rest = report.services[TOP:]
    if rest:
        rows.append((f"{len(rest)} others", sentences.format_money(sum((one.spent for one in rest), Decimal())), ""))
    return rows


def cost_as_json(found: MonthReport) -> dict[str, Any]:
    """For machines: amounts as numbers, days as days."""
    report, bill = found.report, found.answer.bill
    return {
        "month": f"{report.month:%Y-%m}",
        "asked": bill.asked,
        "fresh": found.answer.fresh,
        "pages": bill.pages,
        "currency": report.currency,
        "budget": float(report.budget),
        "spent": _number(report.spent),
        "spent_percent": _number(report.percent(report.spent)),
        "forecast": _known(report.forecast),
        "forecast_percent": _known(report.forecast and report.percent(report.forecast)),
        "month_gone_percent": _number(report.gone),
        "credits": _number(report.credits),
        "services": [
            {
                "name": one.name,
                "spent": _number(one.spent),
                "change": None if one.change is None else _number(one.change),
            }
            for one in report.services
        ],
        "stand_outs": [
            {"day": one.day, "amount": _number(one.amount), "usual": _number(one.usual), "services": one.services}
            for one in report.stand_outs
        ],
        "days": [
            {"day": day, "amount": _number(amount), "estimated": day in report.estimated} for day, amount in report.days
        ],
        "link": report.link,
    }


def _known(amount: Decimal | None) -> float | None:
    return None if amount is None else _number(amount)


def _number(amount: Decimal) -> float:
    return round(float(amount), 2)
