"""Fetch the bill from AWS Cost Explorer, which charges about one cent per page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
from botocore import exceptions as boto
from botocore.config import Config

from inventories import Cost, Environment
from jobs.cost.bill import LOOKBACK, Bill, Busy, Charge, ChargeKind, CostError, month_after, month_before
from jobs.network import is_unknown_host

PRICE_PER_PAGE = Decimal("0.01")  # USD
CREDITS = ("Credit", "Refund")
CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
METRIC, FORECAST_METRIC = "UnblendedCost", "UNBLENDED_COST"

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}
_INVALID_CREDENTIALS = {
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException", "RequestExpired",
    "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
_BUSY = {
    "LimitExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException",
}  # fmt: skip


def fetch_bill(environment: Environment, now: datetime) -> Bill:
    """Fetch the daily charges of the last two months by service, and the forecast for the rest of this month."""
    settings = environment.cost
    if settings is None:
        fact = "no [cost] section, so there is no budget to compare the bill with"
        raise CostError(f"{environment.name}: {fact}; add [cost] (see: crew init --reference)")
    explorer, today = _explorer(environment, settings), now.astimezone(UTC).date()
    first = min(month_before(today), today - LOOKBACK)
    usage_pages = list(explorer.usage(_period(first, today + timedelta(days=1)), settings.filter.tag))
    remaining, forecast_pages = explorer.forecast(_period(today, month_after(today)), settings.filter.tag)
    pages = len(usage_pages) + forecast_pages
    return Bill(
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


@dataclass(frozen=True, slots=True)
class Explorer:
    """A Cost Explorer client and the name of its identity in errors."""

    client: Any
    caller: str

    @property
    def partition(self) -> str:
        """The AWS partition of the client: aws, aws-cn, …"""
        return str(self.client.meta.partition)

    def usage(self, period: Mapping[str, str], tags: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Yield the pages of usage by day, service and record type."""
        request: dict[str, Any] = {
            "TimePeriod": period,
            "Granularity": "DAILY",
            "Metrics": [METRIC],
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "RECORD_TYPE"}],
            **_filter(_tag_filters(tags)),
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
        without_credits = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": list(CREDITS)}}}
        with translated_errors(self.caller, "ce:GetCostForecast"):
            try:
                response = self.client.get_cost_forecast(
                    TimePeriod=period,
                    Metric=FORECAST_METRIC,
                    Granularity="DAILY",
                    **_filter([*_tag_filters(tags), without_credits]),
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
    for result in page["ResultsByTime"]:
        for group in result.get("Groups", []):
            service, record_type = group["Keys"]
            amount = Decimal(group["Metrics"][METRIC]["Amount"])
            if amount:
                yield Charge(_day(result), service, charge_kind(record_type), amount)


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


def _filter(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a filter for all conditions together; Cost Explorer's And needs at least two."""
    if not conditions:
        return {}
    return {"Filter": conditions[0] if len(conditions) == 1 else {"And": conditions}}


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
