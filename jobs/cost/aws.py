"""Fetch the bill from AWS Cost Explorer, which charges about one cent per page."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from inventories import Cost, Environment
from jobs.cost.bill import (
    LOOKBACK,
    Bill,
    Busy,
    Charge,
    ChargeKind,
    Commitments,
    CostError,
    DayOfUsage,
    TaggedUsage,
    month_after,
    month_before,
    month_of,
)
from jobs.cost.growth import GROWTH_LOOKBACK, growths
from jobs.cost.report import least_excess
from jobs.network import is_unknown_host

PRICE_PER_PAGE = Decimal("0.01")  # USD
CREDITS = ("Credit", "Refund")
CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
METRIC, FORECAST_METRIC = "UnblendedCost", "UNBLENDED_COST"
A_DAY = timedelta(days=1)
EXPLAINED_SERVICES = 3
"""What is behind the growth of one service takes a page, so only the biggest are looked at."""

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
_BY_SERVICE_AND_TYPE = ({"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "RECORD_TYPE"})
_RESERVED = {"DiscountedUsage", "RIFee"}
"""Record types of services that have reservations."""
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}
_INVALID_CREDENTIALS = {
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException", "RequestExpired",
    "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
_BUSY = {
    "LimitExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException",
}  # fmt: skip


def fetch_bill(environment: Environment, now: datetime) -> Bill:
    """Fetch the daily charges of the last two months by service, the forecast, and what explains them."""
    settings = environment.cost
    if settings is None:
        fact = "no [cost] section, so there is no budget to compare the bill with"
        raise CostError(f"{environment.name}: {fact}; add [cost] (see: crew init --reference)")
    explorer, today = _explorer(environment, settings), now.astimezone(UTC).date()
    first = min(month_before(today), today - LOOKBACK)
    usage_pages = list(
        explorer.usage(_period(first, today + A_DAY), _BY_SERVICE_AND_TYPE, _tag_filters(settings.filter.tag))
    )
    remaining, forecast_pages = explorer.forecast(_period(today, month_after(today)), settings.filter.tag)
    pages = len(usage_pages) + forecast_pages
    bill = Bill(
        fetched=now,
        currency=_currency(usage_pages),
        charges=tuple(charge for page in usage_pages for charge in charges(page)),
        remaining=remaining,
        estimated=frozenset(
            _day(result) for page in usage_pages for result in page["ResultsByTime"] if result.get("Estimated")
        ),
        pages=pages,
        price=f"about {pages * PRICE_PER_PAGE} USD",
        link=f"https://{_CONSOLES.get(explorer.partition, _CONSOLES['aws'])}/costmanagement/home#/cost-explorer",
    )
    return _with_details(bill, explorer, settings, _types_by_service(usage_pages))


def _with_details(bill: Bill, explorer: Explorer, settings: Cost, types: Mapping[str, frozenset[str]]) -> Bill:
    """Add usage by tag, the use of commitments, and what the services that grew charged for: further pages."""
    grown = [growth.service for growth in growths(bill, least_excess(settings))[:EXPLAINED_SERVICES]]
    usage = _usage_filters(settings, types)
    tag_pages = {tag: list(explorer.by_tag(tag, bill.today, usage)) for tag in settings.tags}
    causes = {name: list(explorer.causes(name, settings.owner_tag, bill.today, usage)) for name in grown}
    commitments, commitment_pages = _commitments(explorer, types, bill.today) if settings.commitments else (None, 0)
    pages = bill.pages + commitment_pages + sum(map(len, [*tag_pages.values(), *causes.values()]))
    return replace(
        bill,
        pages=pages,
        price=f"about {pages * PRICE_PER_PAGE} USD",
        usage=tuple(each for name, answer in causes.items() for each in days_of_usage(name, answer)),
        tagged=tuple(each for tag, answer in tag_pages.items() for each in tagged_usage(tag, answer)),
        commitments=commitments,
    )


def _types_by_service(pages: Iterable[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Return the record types of each service."""
    keys = {tuple(group["Keys"]) for page in pages for day in page["ResultsByTime"] for group in day.get("Groups", [])}
    return {name: frozenset(kind for service, kind in keys if service == name) for name, _ in keys}


def _usage_filters(settings: Cost, types: Mapping[str, frozenset[str]]) -> list[dict[str, Any]]:
    """Return the conditions for usage alone, without the fees and credits that are on the bill."""
    others = sorted({kind for kinds in types.values() for kind in kinds if charge_kind(kind) is not ChargeKind.USE})
    return [*_tag_filters(settings.filter.tag), *([_without(others)] if others else [])]


def _commitments(
    explorer: Explorer, types: Mapping[str, frozenset[str]], today: date
) -> tuple[Commitments | None, int]:
    """Return the use of savings plans and reservations until the day before yesterday, and the pages queried."""
    end = today - A_DAY
    if end <= month_of(today):
        return None, 0
    period = _period(month_of(today), end)
    plans = any(kind.startswith("SavingsPlan") for kinds in types.values() for kind in kinds)
    reserved = sorted(name for name, kinds in types.items() if kinds & _RESERVED)
    answers = [explorer.savings_plans(period)] if plans else []
    answers += [explorer.reservations(period, name) for name in reserved]
    total, unused = (sum((answer[number] for answer in answers), Decimal()) for number in (0, 1))
    return (Commitments(total, unused) if total > 0 else None), len(answers)


@dataclass(frozen=True, slots=True)
class Explorer:
    """A Cost Explorer client and the name of its identity in errors."""

    client: Any
    caller: str

    @property
    def partition(self) -> str:
        """The AWS partition of the client: aws, aws-cn, …"""
        return str(self.client.meta.partition)

    def by_tag(self, tag: str, today: date, conditions: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of this month's usage by the values of a tag, and by service."""
        groups = [{"Type": "TAG", "Key": tag}, {"Type": "DIMENSION", "Key": "SERVICE"}]
        return self.usage(_period(month_of(today), today + A_DAY), groups, conditions, "MONTHLY")

    def causes(
        self, service: str, owner_tag: str, today: date, conditions: Sequence[Mapping[str, Any]]
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of a service's usage by day, type of usage and owner."""
        groups = [{"Type": "DIMENSION", "Key": "USAGE_TYPE"}]
        groups += [{"Type": "TAG", "Key": owner_tag}] if owner_tag else []
        only = {"Dimensions": {"Key": "SERVICE", "Values": [service]}}
        return self.usage(_period(today - GROWTH_LOOKBACK - A_DAY * 3, today), groups, [*conditions, only])

    def savings_plans(self, period: Mapping[str, str]) -> tuple[Decimal, Decimal]:
        """Return what savings plans cost, and the unused part."""
        with translated_errors(self.caller, "ce:GetSavingsPlansUtilization"):
            try:
                answer = self.client.get_savings_plans_utilization(TimePeriod=period)["Total"]["Utilization"]
            except self.client.exceptions.DataUnavailableException:
                return Decimal(), Decimal()
        return Decimal(answer["TotalCommitment"]), Decimal(answer["UnusedCommitment"])

    def reservations(self, period: Mapping[str, str], service: str) -> tuple[Decimal, Decimal]:
        """Return what the reservations of a service cost, and the unused part; the API takes one service at a time."""
        only = {"Dimensions": {"Key": "SERVICE", "Values": [service]}}
        with translated_errors(self.caller, "ce:GetReservationUtilization"):
            try:
                answer = self.client.get_reservation_utilization(TimePeriod=period, Filter=only)["Total"]
            except self.client.exceptions.DataUnavailableException:
                return Decimal(), Decimal()
        return Decimal(answer["TotalAmortizedFee"]), Decimal(answer["RICostForUnusedHours"])

    def usage(
        self,
        period: Mapping[str, str],
        groups: Sequence[Mapping[str, str]],
        conditions: Sequence[Mapping[str, Any]],
        granularity: str = "DAILY",
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of usage by these groups."""
        request: dict[str, Any] = {
            "TimePeriod": period,
            "Granularity": granularity,
            "Metrics": [METRIC],
            "GroupBy": groups,
            **_filter(conditions),
        }
        while True:
            with translated_errors(self.caller, "ce:GetCostAndUsage"):
                try:
                    page = self.client.get_cost_and_usage(**request)
                except self.client.exceptions.DataUnavailableException:  # a new account has no data yet
                    page = {"ResultsByTime": []}
            yield page
            if not page.get("NextPageToken"):
                return
            request["NextPageToken"] = page["NextPageToken"]

    def forecast(self, period: Mapping[str, str], tags: Mapping[str, str]) -> tuple[Decimal | None, int]:
        """Return the forecast without credits and the pages queried; None if AWS has too little history."""
        with translated_errors(self.caller, "ce:GetCostForecast"):
            try:
                response = self.client.get_cost_forecast(
                    TimePeriod=period,
                    Metric=FORECAST_METRIC,
                    Granularity="DAILY",
                    **_filter([*_tag_filters(tags), _without(CREDITS)]),
                )
            except self.client.exceptions.DataUnavailableException:
                return None, 1
        # Sum the days: the response's total can include the part of today that is already over.
        return sum((Decimal(day["MeanValue"]) for day in response["ForecastResultsByTime"]), Decimal()), 1


def caller_identity(environment: Environment, settings: Cost) -> str:
    """Return the ARN that queries the bill; this call is free and also tests that the role can be assumed."""
    session, caller = session_for(environment, settings)
    with translated_errors(caller, "sts:GetCallerIdentity"):
        return str(session.client("sts", config=CONFIG).get_caller_identity()["Arn"])


def _explorer(environment: Environment, settings: Cost) -> Explorer:
    session, caller = session_for(environment, settings)
    with translated_errors(caller, "ce:GetCostAndUsage"):
        return Explorer(session.client("ce", config=CONFIG), caller)


def session_for(environment: Environment, settings: Cost) -> tuple[boto3.session.Session, str]:
    """Return a session with the environment's profile, or with the role assumed by it, and its name in errors."""
    store = environment.store
    profile = store.profiles.get("cost", store.profile) if store else ""
    caller = f"profile {profile}" if profile else "the environment's credentials"
    with translated_errors(caller, "sts:AssumeRole"):
        own = boto3.session.Session(profile_name=profile or None, region_name=store.region or None if store else None)
        region = own.region_name or "us-east-1"
        session = boto3.session.Session(profile_name=profile or None, region_name=region)
        if not settings.role:
            return session, caller
        sts = session.client("sts", config=CONFIG)
        keys = sts.assume_role(RoleArn=settings.role, RoleSessionName="groundcrew-cost")["Credentials"]
    assumed = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region)
    return assumed, f"role {settings.role}"


def charges(page: Mapping[str, Any]) -> Iterator[Charge]:
    """Yield the charges of one page."""
    for day, (service, record_type), amount in _groups([page]):
        yield Charge(day, service, charge_kind(record_type), amount)


def days_of_usage(service: str, pages: Iterable[Mapping[str, Any]]) -> Iterator[DayOfUsage]:
    """Yield what a service charged for on each day."""
    for day, [usage_type, *owner], amount in _groups(pages):
        yield DayOfUsage(day, service, readable_usage(usage_type), _tag_value(owner), amount)


def tagged_usage(tag: str, pages: Iterable[Mapping[str, Any]]) -> Iterator[TaggedUsage]:
    """Yield this month's usage by the values of a tag."""
    for _, [value, service], amount in _groups(pages):
        yield TaggedUsage(tag, _tag_value([value]), service, amount)


def _groups(pages: Iterable[Mapping[str, Any]]) -> Iterator[tuple[date, Sequence[str], Decimal]]:
    for page in pages:
        for result in page["ResultsByTime"]:
            for group in result.get("Groups", []):
                if amount := Decimal(group["Metrics"][METRIC]["Amount"]):
                    yield _day(result), group["Keys"], amount


def _tag_value(keys: Sequence[str]) -> str:
    """Return the value of a tag from a key such as Owner$data; the value is empty without the tag."""
    return keys[0].partition("$")[2] if keys else ""


def readable_usage(usage_type: str) -> str:
    """Return a type of usage without its region: db.r6g.large for EUC1-InstanceUsage:db.r6g.large."""
    return re.sub(r"^(?:[A-Z]{2,4}\d-|EU-(?=[A-Z]))?(?:[A-Za-z-]*Usage:)?(?=.)", "", usage_type)


def charge_kind(record_type: str) -> ChargeKind:
    """Return the kind of charge for an AWS record type."""
    name = record_type.lower()
    if "credit" in name or "refund" in name:
        return ChargeKind.CREDIT
    return ChargeKind.FEE if any(word in name for word in ("tax", "support", "upfront", "fee")) else ChargeKind.USE


def _currency(pages: Iterable[Mapping[str, Any]]) -> str:
    """Return the currency of the bill; empty if every amount is zero, because AWS gives zeros arbitrary units."""
    groups = (group for page in pages for result in page["ResultsByTime"] for group in result.get("Groups", []))
    amounts = (group["Metrics"][METRIC] for group in groups)
    units = sorted({amount["Unit"] for amount in amounts if Decimal(amount["Amount"])})
    if len(units) > 1:
        raise CostError(f"the bill mixes {' and '.join(units)}; narrow cost.filter to charges in one currency")
    return units[0] if units else ""


def _day(result: Mapping[str, Any]) -> date:
    return date.fromisoformat(result["TimePeriod"]["Start"][:10])


def _period(first: date, end: date) -> dict[str, str]:
    """Return a period that excludes its end."""
    return {"Start": first.isoformat(), "End": end.isoformat()}


def _tag_filters(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"Tags": {"Key": key, "Values": [value], "MatchOptions": ["EQUALS"]}} for key, value in sorted(tags.items())
    ]


def _without(record_types: Sequence[str]) -> dict[str, Any]:
    return {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": list(record_types)}}}


def _filter(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a filter for all conditions together; Cost Explorer's And needs at least two."""
    if not conditions:
        return {}
    return {"Filter": conditions[0] if len(conditions) == 1 else {"And": list(conditions)}}


@contextmanager
def translated_errors(caller: str, action: str) -> Iterator[None]:
    """Turn errors of boto3 into CostError or Busy, which name the action, the fact and the remedy."""
    try:
        yield
    except boto.ClientError as error:
        raise _translate_response(error, caller, action) from error
    except (boto.HTTPClientError, boto.ConnectionError, OSError) as error:
        if is_unknown_host(f"{error} {getattr(error, 'kwargs', {}).get('error', '')}"):
            raise CostError(f"{_service(action)}: its host is unknown; check the network and DNS") from error
        raise Busy(f"{_service(action)} did not answer ({type(error).__name__}); check the network") from error
    except boto.ProfileNotFound as error:
        raise CostError(f"{caller}: no such AWS profile ({error}); add it to ~/.aws/config") from error
    except boto.BotoCoreError as error:
        raise CostError(
            f"{caller}: no valid credentials for {_service(action)} ({error}); log in, for example with aws sso login"
        ) from error


def _translate_response(error: boto.ClientError, caller: str, action: str) -> CostError | Busy:
    response = error.response.get("Error", {})
    code, message = response.get("Code", ""), response.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return CostError(f"{caller}: not allowed to call {action} ({message}); allow {action} on * in its IAM policy")
    if code in _INVALID_CREDENTIALS:
        return CostError(
            f"{caller}: {_service(action)} rejects the credentials ({code}); log in again or renew the keys"
        )
    if code in _BUSY or status >= 500 or status == 429:
        return Busy(f"{_service(action)} is too busy for {action} ({code or status}); try again later")
    return CostError(f"{caller}: {action}: {code}: {message}")


def _service(action: str) -> str:
    return {"sts": "STS", "s3": "S3"}.get(action.partition(":")[0], "Cost Explorer")
