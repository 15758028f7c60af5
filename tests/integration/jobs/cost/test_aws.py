"""Cost Explorer through boto3: pages, filters, roles, partitions and errors."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from jobs.checks.check import CheckVerdict, result_of
from jobs.checks.cost import checks
from jobs.cost import aws
from jobs.cost.bill import Busy, Commitments, CostError, DayOfUsage, TaggedUsage
from tests.parts.bills import Account, at
from tests.parts.explorer import FORECAST, PLANS, RESERVATIONS, USAGE, Explorer, page_of, pages_of
from tests.parts.runs import environment

COST = "\n[cost]\nbudget = 300\n"
NOW = at("2026-11-16")


@pytest.fixture(autouse=True)
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable retries, so that the tests do not wait for botocore's pauses."""
    monkeypatch.setattr(aws, "CONFIG", aws.CONFIG.merge(aws.Config(retries={"total_max_attempts": 1})))


def test_all_pages_are_read_and_counted(cost_explorer: Explorer) -> None:
    expected = Account(credits={"2026-11-03": "-5"}, fees={"2026-11-01": "29"}).bill(NOW)
    pages = pages_of(expected, size=20)
    cost_explorer.queue(pages)
    bill = aws.fetch_bill(environment(more=COST), NOW)
    assert set(bill.charges) == set(expected.charges)
    assert (bill.remaining, bill.currency, bill.estimated) == (Decimal(150), "USD", expected.estimated)
    assert (len(pages), bill.pages, bill.price) == (4, 5, "about 0.05 USD")
    assert cost_explorer.actions == [USAGE] * 4 + [FORECAST]


def test_the_requests(cost_explorer: Explorer) -> None:
    aws.fetch_bill(environment(more=COST), at("2026-03-01T00:10"))
    (_, usage), (_, forecast) = cost_explorer.requests
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
    filters = [body["Filter"] for _, body in cost_explorer.requests]
    assert filters[0] == tag("Environment", "staging")
    assert filters[1]["And"][0] == tag("Environment", "staging")
    assert filters[2] == {"And": [tag("Environment", "staging"), tag("Team", "a")]}
    assert len(filters[3]["And"]) == 3


RISEN = Account(odd={f"2026-11-{day:02}": "60" for day in range(10, 17)})
DETAILS = """
owner_tag = "Owner"
stack_tag = "Stack"
commitments = 90
"""


def test_what_tags_growth_and_commitments_take(cost_explorer: Explorer) -> None:
    (bill_page,) = pages_of(RISEN.bill(NOW), size=99)
    reserved = {("Amazon EC2", "DiscountedUsage"): "0.1", ("Savings Plans", "SavingsPlanRecurringFee"): "7"}
    by_owner, by_stack = {("Owner$", "Amazon EC2"): "30", ("Owner$data", "Amazon RDS"): "9"}, {("Stack$a", "x"): "1"}
    causes = {"2026-11-12": {("EUC1-BoxUsage:m5.large", "Owner$data"): "25"}}
    bill_page["ResultsByTime"] += page_of({"2026-11-01": reserved})["ResultsByTime"]
    cost_explorer.queue(
        [bill_page, page_of({"2026-11-01": by_owner}), page_of({"2026-11-01": by_stack}), page_of(causes)]
    )
    bill = aws.fetch_bill(environment(more=COST + DETAILS), NOW)
    assert bill.tagged == (
        TaggedUsage("Owner", "", "Amazon EC2", Decimal(30)),
        TaggedUsage("Owner", "data", "Amazon RDS", Decimal(9)),
        TaggedUsage("Stack", "a", "x", Decimal(1)),
    )
    assert bill.usage == (DayOfUsage(date(2026, 11, 12), "Amazon EC2", "m5.large", "data", Decimal(25)),)
    assert bill.commitments == Commitments(Decimal(300), Decimal("51.5"))
    assert cost_explorer.actions == [USAGE, FORECAST, *[USAGE] * 5, PLANS, RESERVATIONS]
    assert (bill.pages, bill.price) == (9, "about 0.09 USD")
    _, _, owner, _, cause, *_, reservations = (body for _, body in cost_explorer.requests)
    usage_alone = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": ["SavingsPlanRecurringFee"]}}}
    assert (owner["Granularity"], owner["Filter"]) == ("MONTHLY", usage_alone)
    assert owner["TimePeriod"] == {"Start": "2026-11-01", "End": "2026-11-17"}
    assert owner["GroupBy"] == [{"Type": "TAG", "Key": "Owner"}, {"Type": "DIMENSION", "Key": "SERVICE"}]
    assert cause["Filter"]["And"] == [usage_alone, {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon EC2"]}}]
    assert cause["GroupBy"] == [{"Type": "DIMENSION", "Key": "USAGE_TYPE"}, {"Type": "TAG", "Key": "Owner"}]
    assert reservations["TimePeriod"] == {"Start": "2026-11-01", "End": "2026-11-15"}
    assert reservations["Filter"] == {"Dimensions": {"Key": "SERVICE", "Values": ["Amazon EC2"]}}


def test_an_account_without_commitments_pays_no_page_for_them(cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(Account().bill(NOW), size=99))
    bill = aws.fetch_bill(environment(more=COST + "commitments = 90\n"), NOW)
    assert (cost_explorer.actions, bill.commitments) == ([USAGE, FORECAST], None)


@pytest.mark.parametrize(
    ("usage_type", "text"),
    [
        ("EUC1-InstanceUsage:db.r6g.large", "db.r6g.large"),
        ("BoxUsage:m5.large", "m5.large"),
        ("EUC1-Multi-AZUsage:db.r6g.large", "db.r6g.large"),
        ("EU-RDS:GP3-Storage", "RDS:GP3-Storage"),
        ("DataTransfer-Out-Bytes", "DataTransfer-Out-Bytes"),
        ("USE1-TimedStorage-ByteHrs", "TimedStorage-ByteHrs"),
        ("NoUsage:", "NoUsage:"),
        ("", ""),
    ],
)
def test_types_of_usage_are_shown_without_their_region(usage_type: str, text: str) -> None:
    assert aws.readable_usage(usage_type) == text


def test_a_role_reads_another_account(cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(Account().bill(NOW), size=99))
    cost_explorer.errors = {FORECAST: [(400, "AccessDeniedException", "no")]}
    role = "arn:aws:iam::123456789012:role/billing"
    with pytest.raises(CostError, match=f"^role {role}: not allowed to call ce:GetCostForecast "):
        aws.fetch_bill(environment(more=COST + f'role = "{role}"\n'), NOW)


def test_a_new_account_has_no_figures_and_no_forecast(cost_explorer: Explorer) -> None:
    cost_explorer.daily = None
    cost_explorer.errors = {USAGE: [(400, "DataUnavailableException", "Data is not available.")]}
    bill = aws.fetch_bill(environment(more=COST), NOW)
    assert (bill.charges, bill.remaining, bill.currency) == ((), None, "")


def test_empty_days_have_no_currency(cost_explorer: Explorer) -> None:
    cost_explorer.queue(pages_of(replace(Account(odd={"2026-11-16": "0"}, since="2030-01-01").bill(NOW))))
    assert aws.fetch_bill(environment(more=COST), NOW).currency == ""


@pytest.mark.parametrize(
    ("action", "status", "code", "error", "message"),
    [
        (
            USAGE, 400, "AccessDeniedException", CostError,
            r"^the environment's credentials: not allowed to call ce:GetCostAndUsage \(.*\); allow ce:GetCostAndUsage ",
        ),
        (FORECAST, 400, "AccessDeniedException", CostError, "allow ce:GetCostForecast"),
        (USAGE, 400, "ExpiredTokenException", CostError, "Cost Explorer rejects the credentials .ExpiredToken"),
        (USAGE, 400, "ThrottlingException", Busy, "Cost Explorer is too busy for ce:GetCostAndUsage"),
        (FORECAST, 400, "LimitExceededException", Busy, "too busy for ce:GetCostForecast"),
        (PLANS, 400, "AccessDeniedException", CostError, "allow ce:GetSavingsPlansUtilization"),
        (RESERVATIONS, 400, "LimitExceededException", Busy, "too busy for ce:GetReservationUtilization"),
        (USAGE, 500, "InternalFailure", Busy, "too busy"),
        (USAGE, 400, "ValidationException", CostError, "ce:GetCostAndUsage: ValidationException: because"),
    ],
)  # fmt: skip
def test_errors_of_aws(
    cost_explorer: Explorer, action: str, status: int, code: str, error: type[Exception], message: str
) -> None:
    types = {("EC2", "DiscountedUsage"): "1", ("Savings Plans", "SavingsPlanRecurringFee"): "7"}
    if action != USAGE:  # else nobody would take the page from the queue, which all tests share
        cost_explorer.queue([page_of({"2026-11-01": types})])
    cost_explorer.errors = {action: [(status, code, "because")]}
    with pytest.raises(error, match=message):
        aws.fetch_bill(environment(more=f"{COST}commitments = 90\n"), NOW)


def test_no_answer_is_transient(cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_COST_EXPLORER", "http://127.0.0.1:1")
    with pytest.raises(Busy, match="Cost Explorer did not answer"):
        aws.fetch_bill(environment(more=COST), NOW)


def test_no_credentials_and_no_profile(cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(more=COST)
    assert env.store
    with pytest.raises(CostError, match=r"no such AWS profile .*payer.*; add it to ~/\.aws/config"):
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
    elsewhere = replace(env, store=replace(env.store, region=region))
    assert link in aws.fetch_bill(elsewhere, NOW).link
    monkeypatch.delenv("AWS_ENDPOINT_URL_COST_EXPLORER")
    assert aws._explorer(elsewhere, env.cost).client.meta.endpoint_url == endpoint


def test_crew_check_reports_the_identity_and_makes_no_paid_request(
    cost_explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::123456789012:role/billing"
    for more, identity in (("", "arn:aws:"), (f'role = "{role}"\n', "assumed-role/billing/groundcrew-cost")):
        (check,) = checks(environment(more=COST + more))
        result = result_of(check)
        assert result.verdict is CheckVerdict.OK
        assert identity in result.fact
    assert cost_explorer.requests == []
    assert list(checks(environment())) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert "STS did not answer" in result_of(check).fact
