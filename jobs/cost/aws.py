"""The bill as AWS's Cost Explorer tells it, about one cent a page."""

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

PRICE_PER_PAGE = Decimal("0.01")  # USD for a page
CREDITS = ("Credit", "Refund")
CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 5})
METRIC, FORECAST_METRIC = "UnblendedCost", "UNBLENDED_COST"

_CONSOLES = {
    "aws": "console.aws.amazon.com",
    "aws-cn": "console.amazonaws.cn",
    "aws-us-gov": "console.amazonaws-us-gov.com",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedException"}
_LOGGED_OUT = {
    "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException", "RequestExpired",
    "SignatureDoesNotMatch", "UnrecognizedClientException",
}  # fmt: skip
_BUSY = {
    "LimitExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException",
}  # fmt: skip


def fetch_bill(environment: Environment, now: datetime) -> Bill:
    """Ask for each day of the last two months by service, and for what is still to come of this one."""
    settings = environment.cost
    if settings is None:
        raise CostError(f"{environment.name}: has no [cost], so there is no budget to hold the bill against")
    explorer, today = _explorer(environment, settings), now.astimezone(UTC).date()
    first = min(month_before(today), today - LOOKBACK)
    pages = list(explorer.usage(_between(first, today + timedelta(days=1)), settings.filter.tag))
    to_come, asked = explorer.forecast(_between(today, month_after(today)), settings.filter.tag)
    return Bill(
        asked=now,
        currency=_currency(pages),
        charges=tuple(charge for page in pages for charge in charges(page)),
        to_come=to_come,
        estimated=frozenset(_day(one) for page in pages for one in page["ResultsByTime"] if one.get("Estimated")),
        pages=len(pages) + asked,
        price=f"about {(len(pages) + asked) * PRICE_PER_PAGE} USD",
        link=f"https://{_CONSOLES.get(explorer.partition, _CONSOLES['aws'])}/costmanagement/home#/cost-explorer",
    )


@dataclass(frozen=True, slots=True)
class Explorer:
    """A client of Cost Explorer, and as whom it asks."""

    client: Any
    whom: str

    @property
    def partition(self) -> str:
        """The part of AWS that it asks: aws, aws-cn, …"""
        return str(self.client.meta.partition)

    def usage(self, period: Mapping[str, str], tags: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        """Page after page, by day, service and kind of record."""
        asked: dict[str, Any] = {
            "TimePeriod": period,
            "Granularity": "DAILY",
            "Metrics": [METRIC],
            "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "RECORD_TYPE"}],
            **_filter(_tagged(tags)),
        }
        while True:
            with translated_errors(self.whom, "ce:GetCostAndUsage"):
                try:
                    page = self.client.get_cost_and_usage(**asked)
                except self.client.exceptions.DataUnavailableException:  # a new account has none yet
                    page = {"ResultsByTime": []}
            yield page
            if not page.get("NextPageToken"):
                return
            asked["NextPageToken"] = page["NextPageToken"]

    def forecast(self, period: Mapping[str, str], tags: Mapping[str, str]) -> tuple[Decimal | None, int]:
        """What is to come, without credits, and the pages asked; None where AWS has too little to go by."""
        spending = {"Not": {"Dimensions": {"Key": "RECORD_TYPE", "Values": list(CREDITS)}}}
        with translated_errors(self.whom, "ce:GetCostForecast"):
            try:
                found = self.client.get_cost_forecast(
                    TimePeriod=period,
                    Metric=FORECAST_METRIC,
                    Granularity="DAILY",
                    **_filter([*_tagged(tags), spending]),
                )
            except self.client.exceptions.DataUnavailableException:
                return None, 1
        # The days, not the total: that one may hold the part of a day that is over.
        return sum((Decimal(one["MeanValue"]) for one in found["ForecastResultsByTime"]), Decimal()), 1


def caller_identity(environment: Environment, settings: Cost) -> str:
    """As whom the bill is asked for, and that the role can be assumed; asking this costs nothing."""
    session, whom = _session(environment, settings)
    with translated_errors(whom, "sts:GetCallerIdentity"):
        return str(session.client("sts", config=CONFIG).get_caller_identity()["Arn"])


def _explorer(environment: Environment, settings: Cost) -> Explorer:
    """Cost Explorer of the account that the session is in."""
    session, whom = _session(environment, settings)
    with translated_errors(whom, "ce:GetCostAndUsage"):
        return Explorer(session.client("ce", config=CONFIG), whom)


def _session(environment: Environment, settings: Cost) -> tuple[boto3.session.Session, str]:
    """Of the environment's profile, or of the role that it assumes with it; and its name in errors."""
    store = environment.store
    profile = store.profiles.get("cost", store.profile) if store else ""
    whom = f"profile {profile}" if profile else "the environment's credentials"
    with translated_errors(whom, "sts:AssumeRole"):
        own = boto3.session.Session(profile_name=profile or None, region_name=store.region or None if store else None)
        region = own.region_name or "us-east-1"
        session = boto3.session.Session(profile_name=profile or None, region_name=region)
        if not settings.role:
            return session, whom
        sts = session.client("sts", config=CONFIG)
        keys = sts.assume_role(RoleArn=settings.role, RoleSessionName="groundcrew-cost")["Credentials"]
    other = boto3.session.Session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region)
    return other, f"role {settings.role}"


def charges(page: Mapping[str, Any]) -> Iterator[Charge]:
    """The charges of one page."""
    for result in page["ResultsByTime"]:
        for group in result.get("Groups", []):
            service, record_type = group["Keys"]
            amount = Decimal(group["Metrics"][METRIC]["Amount"])
            if amount:
                yield Charge(_day(result), service, charge_kind(record_type), amount)


def charge_kind(record_type: str) -> ChargeKind:
    """What a kind of record is to us."""
    name = record_type.lower()
    if "credit" in name or "refund" in name:
        return ChargeKind.CREDIT
    return ChargeKind.FEE if any(word in name for word in ("tax", "support", "upfront", "fee")) else ChargeKind.USE


def _currency(pages: Iterable[Mapping[str, Any]]) -> str:
    """The currency of the bill; nothing where all amounts are nothing, for they have odd units."""
    groups = (group for page in pages for result in page["ResultsByTime"] for group in result.get("Groups", []))
    amounts = (group["Metrics"][METRIC] for group in groups)
    units = sorted({one["Unit"] for one in amounts if Decimal(one["Amount"])})
    if len(units) > 1:
        raise CostError(f"the bill is in {' and '.join(units)}; narrow cost.filter until it is in one currency")
    return units[0] if units else ""


def _day(result: Mapping[str, Any]) -> date:
    return date.fromisoformat(result["TimePeriod"]["Start"][:10])


def _between(first: date, end: date) -> dict[str, str]:
    """A period; its end is not part of it."""
    return {"Start": first.isoformat(), "End": end.isoformat()}


def _tagged(tags: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"Tags": {"Key": key, "Values": [value], "MatchOptions": ["EQUALS"]}} for key, value in sorted(tags.items())
    ]


def _filter(wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """All of it together; And wants at least two."""
    if not wanted:
        return {}
    return {"Filter": wanted[0] if len(wanted) == 1 else {"And": wanted}}


@contextmanager
def translated_errors(whom: str, action: str) -> Iterator[None]:
    """Let what boto3 raises inside pass as an error that names the action, the fact and the way out."""
    try:
        yield
    except boto.ClientError as error:
        raise _answered(error, whom, action) from error
    except (boto.HTTPClientError, boto.ConnectionError, OSError) as error:
        raise Busy(f"{_service(action)} did not answer ({type(error).__name__}); check the network") from error
    except boto.ProfileNotFound as error:
        raise CostError(f"there is no AWS profile for {whom}: {error}; add it to ~/.aws/config") from error
    except boto.BotoCoreError as error:
        raise CostError(f"{whom}: no valid credentials for {_service(action)} ({error}); aws sso login") from error


def _answered(error: boto.ClientError, whom: str, action: str) -> CostError | Busy:
    answer = error.response.get("Error", {})
    code, said = answer.get("Code", ""), answer.get("Message", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return CostError(f"{whom}: may not do {action} ({said}); allow {action} on * in its policy")
    if code in _LOGGED_OUT:
        return CostError(f"{whom}: not accepted by {_service(action)} ({code}); log in again, or renew the keys")
    if code in _BUSY or status >= 500 or status == 429:
        return Busy(f"{_service(action)} is too busy for {action} ({code or status}); try again later")
    return CostError(f"{whom}: {action}: {code}: {said}")


def _service(action: str) -> str:
    return "STS" if action.startswith("sts:") else "Cost Explorer"
