"""The job `cost`: asks for the bill, and tells what of it is news."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from inventories import Cost, Environment
from jobs.cost import aws, sentences
from jobs.cost.bill import CostError, Source
from jobs.cost.cache import CachedBill, cached_bill
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import CostReport, report_on
from jobs.run.job import Job, Options, Outcome, Result, Run
from jobs.run.notices import known_notices
from jobs.run.ticks import period
from jobs.store import Store

SUBJECT, SOURCE = "aws", aws.fetch_bill
AMOUNTS_SETTLE = timedelta(days=3)  # a day's figures still grow for so long
UNSCHEDULED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class MonthReport:
    """A report, and the answer that it was read from."""

    report: CostReport
    answer: CachedBill


def month_report(
    environment: Environment, store: Store, now: datetime, source: Source = SOURCE, *, refresh: bool = False
) -> MonthReport:
    """How the month stands, asked for only if no answer is kept that is young enough."""
    settings = cost_settings(environment)
    found = cached_bill(environment, store, now, source, refresh=refresh)
    return MonthReport(report_on(found.bill, settings.budget, settings.currency), found)


def cost_settings(environment: Environment) -> Cost:
    """The environment's [cost]."""
    if environment.cost is None:
        raise CostError(f"{environment.name}: has no [cost], so no budget to hold the bill against; add one")
    return environment.cost


def work(run: Run) -> Result:
    """Hold the bill against the budget."""
    if run.options.dry_run:
        return Result(Outcome.DONE, "would ask Cost Explorer for the bill, about a cent a page, usually two or three")
    settings, store = cost_settings(run.environment), run.store
    found = month_report(run.environment, store, run.started)
    odd, report = cost_findings(found.report), found.report
    since = report.today - AMOUNTS_SETTLE - _period(run.environment, run.started)
    return Result(
        Outcome.FINDING if odd else Outcome.DONE,
        "; ".join([*odd, sentences.spent(report), query_cost(found.answer)]),
        figures(found),
        tidings=cost_notice(
            report, settings.thresholds, known_notices(store, run.environment.name, run.job, run.subject), since
        ),
    )


def _period(environment: Environment, now: datetime) -> timedelta:
    """How far apart the looks are; a day that was odd since the last one is news."""
    line = schedule(environment, SUBJECT)
    return period(line, environment.timezone, now) if line else UNSCHEDULED


def query_cost(found: CachedBill) -> str:
    """What it cost to know this."""
    bill = found.bill
    pages = f"{bill.pages} page{'' if bill.pages == 1 else 's'}"
    if found.fresh:
        return f"{pages} asked, {bill.price}"
    return f"as of {bill.asked.astimezone(UTC):%b %d %H:%M} UTC"


def figures(found: MonthReport) -> dict[str, int | float | str]:
    """For machines; what is not known is left out."""
    report, unit = found.report, found.report.currency.lower()
    amounts = {
        f"spent_{unit}": report.spent,
        f"budget_{unit}": report.budget,
        f"credits_{unit}": report.credits,
        "spent_percent": report.percent(report.spent),
        "month_gone_percent": report.gone,
    }
    if report.forecast is not None:
        amounts |= {f"forecast_{unit}": report.forecast, "forecast_percent": report.percent(report.forecast)}
    rounded = {name: round(float(amount), 2) for name, amount in amounts.items()}
    return {**rounded, "pages_asked": found.answer.bill.pages if found.answer.fresh else 0}


def subjects(environment: Environment, options: Options) -> Sequence[str]:
    """The one account, if it has a budget."""
    wanted = environment.cost is not None and (not options.only or SUBJECT in options.only)
    return [SUBJECT] if wanted else []


def schedule(environment: Environment, _subject: str) -> str | None:
    """When the bill is looked at."""
    return environment.cost.check if environment.cost else None


COST = Job("cost", subjects, work, schedule, limit=lambda _environment, _subject: timedelta(minutes=15))
