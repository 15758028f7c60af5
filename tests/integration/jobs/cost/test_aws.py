"""Cost Explorer asked as AWS's own is: pages, filters, roles, partitions, and each way to be refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from jobs.checks.check import CheckVerdict, result_of
from jobs.checks.cost import checks
from jobs.cost import aws
from jobs.cost.bill import Busy, Charge, ChargeKind, CostError
from jobs.cost.cache import cached_bill, last_bill
from tests.parts.bills import Account, at
from tests.parts.explorer import FORECAST, USAGE, Explorer, pages_of
from tests.parts.runs import environment, store_in

COST = "\n[cost]\nbudget = 300\n"
NOW = at("2026-11-16")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """One try each: the pauses between tries are botocore's own."""
    monkeypatch.setattr(aws, "CONFIG", aws.CONFIG.merge(aws.Config(retries={"total_max_attempts": 1})))


def test_pages_are_read_to_the_last_and_counted(cost_explorer: Explorer) -> None:
    wanted = Account(credits={"2026-11-03": "-5"}, fees={"2026-11-01": "29"}).bill(NOW)
    pages = pages_of(wanted, size=20)
    cost_explorer.queue(pages)
    found = aws.fetch_bill(environment(more=COST), NOW)
    assert set(found.charges) == set(wanted.charges)
    assert (found.to_come, found.currency, found.estimated) == (Decimal(150), "USD", wanted.estimated)
    assert (len(pages), found.pages, found.price) == (4, 5, "about 0.05 USD")
    assert cost_explorer.actions == [USAGE] * 4 + [FORECAST]


def test_what_is_asked(cost_explorer: Explorer) -> None:
    aws.fetch_bill(environment(more=COST), at("2026-03-01T00:10"))
    (_, usage), (_, forecast) = cost_explorer.asked
    assert usage["TimePeriod"] == {"Start": "2025-12-29", "End": "2026-03-02"}
    assert usage["GroupBy"] == [
        {"Type": "DIMENSION", "Key": "SERVICE"},
        {"Type": "DIMENSION", "Key": "RECORD_TYPE"},
    ]
    assert "Filter" not in usage
    assert forecast["TimePeriod"] == {"Start": "2026-03-01", "End": "2026-04-01"}
    spending = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["Credit", "Refund"]}}}
    assert forecast["Filter"] == spending


def test_one_tag_and_several(cost_explorer: Explorer) -> None:
    def tag(key: str, value: str) -> dict[str, object]:
        return {"Tags": {"Key": key, "Values": [value], "MatchOptions": ["EQUALS"]}}

    aws.fetch_bill(environment(more=COST + 'filter = { tag = { Environment = "staging" } }\n'), NOW)
    aws.fetch_bill(environment(more=COST + 'filter = { tag = { Team = "a", Environment = "staging" } }\n'), NOW)
    filters = [body["Filter"] for _, body in cost_explorer.asked]
    assert filters[0] == tag("Environment", "staging")
    assert filters[1]["And"][0] == tag("Environment", "staging")
    assert filters[2] == {"And": [tag("Environment", "staging"), tag("Team", "a")]}
    assert len(filters[3]["And"]) == 3


def test_another_account_by_its_role(cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(Account().bill(NOW), size=99))
    cost_explorer.errors = {FORECAST: [(400, "AccessDeniedException", "no")]}
    role = "arn:aws:iam::123456789012:role/billing"
    with pytest.raises(CostError, match=f"^role {role}: may not do ce:GetCostForecast "):
        aws.fetch_bill(environment(more=COST + f'role = "{role}"\n'), NOW)


def test_thousands_of_services(cost_explorer: Explorer, tmp_path: Path) -> None:
    empty = Account(daily="0").bill(NOW)
    days = [date(2026, 11, day) for day in range(1, 4)]
    many = [Charge(day, f"service {number}", ChargeKind.USE, Decimal("0.01")) for day in days for number in range(3000)]
    cost_explorer.queue(pages_of(replace(empty, charges=tuple(many)), size=1))
    env, store = environment(more=COST), store_in(tmp_path)
    found = cached_bill(env, store, NOW, aws.fetch_bill).bill
    assert len(found.charges) == 9000
    kept = last_bill(env, store)
    assert kept is not None
    assert set(kept.charges) == set(found.charges)


def test_a_new_account_has_no_figures_and_no_forecast(cost_explorer: Explorer) -> None:
    cost_explorer.daily = None
    cost_explorer.errors = {USAGE: [(400, "DataUnavailableException", "Data is not available.")]}
    found = aws.fetch_bill(environment(more=COST), NOW)
    assert (found.charges, found.to_come, found.currency) == ((), None, "")


def test_empty_days_have_no_currency(cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(replace(Account(odd={"2026-11-16": "0"}, since="2030-01-01").bill(NOW))))
    assert aws.fetch_bill(environment(more=COST), NOW).currency == ""


@pytest.mark.parametrize(
    ("action", "status", "code", "kind", "says"),
    [
        (
            USAGE, 400, "AccessDeniedException", CostError,
            r"^the environment's credentials: may not do ce:GetCostAndUsage \(.*\); allow ce:GetCostAndUsage on \*",
        ),
        (FORECAST, 400, "AccessDeniedException", CostError, "allow ce:GetCostForecast"),
        (USAGE, 400, "ExpiredTokenException", CostError, "not accepted by Cost Explorer .ExpiredTokenException."),
        (USAGE, 400, "ThrottlingException", Busy, "Cost Explorer is too busy for ce:GetCostAndUsage"),
        (FORECAST, 400, "LimitExceededException", Busy, "too busy for ce:GetCostForecast"),
        (USAGE, 500, "InternalFailure", Busy, "too busy"),
        (USAGE, 400, "ValidationException", CostError, "ce:GetCostAndUsage: ValidationException: because"),
    ],
)  # fmt: skip
def test_refusals(
    cost_explorer: Explorer, action: str, status: int, code: str, kind: type[Exception], says: str
) -> None:
    cost_explorer.errors = {action: [(status, code, "because")]}
    with pytest.raises(kind, match=says):
        aws.fetch_bill(environment(more=COST), NOW)


def test_nobody_there_may_pass(cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COST_EXPLORER", "http://127.0.0.1:1")
    with pytest.raises(Busy, match="Cost Explorer did not answer"):
        aws.fetch_bill(environment(more=COST), NOW)


def test_no_credentials_and_no_profile(cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(more=COST)
    assert env.store
    with pytest.raises(CostError, match=r"there is no AWS profile.*payer.*; add it to ~/\.aws/config"):
        aws.fetch_bill(replace(env, store=replace(env.store, profiles={"cost": "payer"})), NOW)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(CostError, match="no valid credentials for Cost Explorer"):
        aws.fetch_bill(env, NOW)


@pytest.mark.parametrize(
    ("region", "endpoint", "link"),
    [
        ("eu-central-1", "https://ce.us-east-1.amazonaws.com", "console.aws.amazon.com"),
        ("cn-north-1", "https://ce.cn-northwest-1.amazonaws.com.cn", "console.amazonaws.cn"),
    ],
)
def test_other_partitions_have_other_endpoints(
    cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch, region: str, endpoint: str, link: str
) -> None:
    env = environment(more=COST)
    assert env.store
    assert env.cost
    there = replace(env, store=replace(env.store, region=region))
    assert link in aws.fetch_bill(there, NOW).link
    monkeypatch.delenv("AWS_ENDPOINT_URL_COST_EXPLORER")
    assert aws._explorer(there, env.cost).client.meta.endpoint_url == endpoint


def test_answers_are_kept_for_eight_hours(cost_explorer: Explorer, tmp_path: Path) -> None:
    env, store = environment(more=COST), store_in(tmp_path)
    for hour, fresh in (("09:00", True), ("16:59", False), ("17:00", True), ("18:00", False)):
        assert cached_bill(env, store, at(f"2026-11-16T{hour}"), aws.fetch_bill).fresh is fresh
    assert cached_bill(env, store, at("2026-11-16T18:01"), aws.fetch_bill, refresh=True).fresh
    other = environment(more=COST + 'filter = { tag = { Environment = "staging" } }\n')
    assert cached_bill(other, store, at("2026-11-16T18:02"), aws.fetch_bill).fresh, "another question"
    assert cached_bill(other, store, at("2026-11-16T10:00"), aws.fetch_bill).fresh, (
        "an answer of the future is no answer"
    )
    assert cost_explorer.actions.count(USAGE) == 5


def test_crew_check_says_as_whom_and_asks_for_no_money(
    cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::123456789012:role/billing"
    for more, whom in (("", "arn:aws:"), (f'role = "{role}"\n', "assumed-role/billing/groundcrew-cost")):
        (check,) = checks(environment(more=COST + more))
        finding = result_of(check)
        assert finding.verdict is CheckVerdict.OK
        assert whom in finding.fact
    assert cost_explorer.asked == []
    assert list(checks(environment())) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert "STS did not answer" in result_of(check).fact
