"""The job `cost`: compares the bill with the budget and sends a notice about what is new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from inventories import Cost, Environment
from jobs.cost import aws, focus, opencost, sentences
from jobs.cost.bill import CostError, Source
from jobs.cost.cache import CachedBill, cached_bill
from jobs.cost.notices import cost_findings, cost_notice
from jobs.cost.report import CostReport, report_on
from jobs.format import plural
from jobs.run.job import Job, Options, Outcome, Result, Run, select_single
from jobs.run.notices import known_notices
from jobs.run.ticks import period
from jobs.store import Store

AMOUNTS_SETTLE = timedelta(days=3)  # AWS still adds to a day's amounts for this long
UNSCHEDULED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class MonthReport:
    """A report, and the cached bill that it was computed from."""

    report: CostReport
    cached: CachedBill


def month_report(
    environment: Environment, store: Store, now: datetime, source: Source | None = None, *, refresh: bool = False
) -> MonthReport:
    """Return the report on this month, from the cached bill if that is fresh."""
    settings = cost_settings(environment)
    cached = cached_bill(environment, store, now, source or source_of(settings, store), refresh=refresh)
    return MonthReport(report_on(cached.bill, settings), cached)


def source_of(settings: Cost, store: Store) -> Source:
    """Return the provider that cost.from names."""
    sources: dict[str, Source] = {
        "aws": aws.fetch_bill,
        "focus": partial(focus.read_exported_bill, store=store),
        "opencost": opencost.fetch_cluster_bill,
    }
    return sources[settings.source]


def cost_settings(environment: Environment) -> Cost:
    """Return the environment's [cost] section."""
    if environment.cost is None:
        raise CostError(f"{environment.name}: no [cost] section, so there is no budget; add one with a budget")
    return environment.cost


def work(run: Run) -> Result:
    """Compare the bill with the budget."""
    if run.options.dry_run:
        return Result(Outcome.DONE, would_query(cost_settings(run.environment)))
    settings = cost_settings(run.environment)
    month = month_report(run.environment, run.store, run.started)
    report, findings = month.report, cost_findings(month.report, settings)
    since = report.today - AMOUNTS_SETTLE - _interval(run.environment, run.started)
    known = known_notices(run.store, run.environment.name, run.job, run.subject)
    return Result(
        Outcome.FINDING if findings else Outcome.DONE,
        "; ".join([*findings, sentences.spent(report), query_cost(month.cached)]),
        figures(month),
        notice=cost_notice(report, settings, known, since),
    )


def would_query(settings: Cost) -> str:
    """Return what a run would query, and the price."""
    if settings.source == "focus":
        return "would read the exports that were written since the last check"
    if settings.source == "opencost":
        return f"would query OpenCost at {settings.api}"
    tags = f", {len(settings.tags)} more for tags" if settings.tags else ""
    commitments = ", 1 for savings plans and 1 for each service with reservations" if settings.commitments else ""
    return (
        f"would query Cost Explorer: usually two or three pages{tags}{commitments}, "
        "and 1 for each service that grew, at about 0.01 USD each"
    )


def _interval(environment: Environment, now: datetime) -> timedelta:
    """Return the time between runs. Used to report only unusual days since the last run."""
    line = environment.cost.check if environment.cost else None
    return period(line, environment.timezone, now) if line else UNSCHEDULED


def query_cost(cached: CachedBill) -> str:
    """Return the pages queried and their price, or the time of the cached bill."""
    bill = cached.bill
    if cached.fresh and not bill.price:
        return f"{plural(bill.pages, 'new export')} read"
    if cached.fresh:
        return f"{plural(bill.pages, 'page')} queried, {bill.price}"
    return f"as of {bill.fetched.astimezone(UTC):%b %d %H:%M} UTC"


def figures(month: MonthReport) -> dict[str, int | float | str]:
    """Return the figures for machines, without those that are unknown."""
    report, unit = month.report, month.report.currency.lower()
    amounts = {
        f"spent_{unit}": report.spent,
        f"budget_{unit}": report.budget,
        f"credits_{unit}": report.credits,
        "spent_percent": report.percent(report.spent),
        "month_gone_percent": report.month_gone,
    }
    if report.forecast is not None:
        amounts |= {f"forecast_{unit}": report.forecast, "forecast_percent": report.percent(report.forecast)}
    rounded = {name: round(float(amount), 2) for name, amount in amounts.items()}
    return {**rounded, "pages_queried": month.cached.bill.pages if month.cached.fresh else 0}


def subjects(environment: Environment, _store: Store, options: Options) -> Sequence[str]:
    """Return the one source of bills, if there is a budget."""
    settings = environment.cost
    return select_single(settings.source if settings else "aws", options, configured=settings is not None)


def schedule(environment: Environment, _subject: str) -> str | None:
    """Return the cron line of the cost check."""
    return environment.cost.check if environment.cost else None


COST = Job("cost", subjects, work, schedule, limit=lambda _environment, _subject: timedelta(minutes=15))
