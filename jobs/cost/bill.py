"""A bill from any provider as plain values, and the type of the function that fetches one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from inventories import Environment
from jobs.run.job import Failed, Transient

LOOKBACK = timedelta(days=62)  # 30 days to judge, and 30 earlier days to compare the first of them with


class CostError(Failed):
    """An error about the bill that the user can fix: the message names the thing, the fact and the remedy."""


class Busy(Transient):
    """The provider did not answer or throttles requests: a later attempt can succeed."""


class ChargeKind(StrEnum):
    """The kind of a charge."""

    USE = "use"
    FEE = "fee"  # monthly or one-time: taxes, support, reservations
    CREDIT = "credit"  # credits and refunds; they do not reduce spending


@dataclass(frozen=True, slots=True)
class Charge:
    """The cost of one service on one day."""

    day: date
    service: str
    kind: ChargeKind
    amount: Decimal


@dataclass(frozen=True, slots=True)
class DayOfUsage:
    """What a service charged for on one day: a type of instance, for example, and the value of the owner tag."""

    day: date
    service: str
    what: str
    owner: str  # empty without the tag, or if no tag is set
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TaggedUsage:
    """This month's usage of a service with one value of a tag."""

    tag: str
    value: str  # empty for resources without the tag
    service: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Commitments:
    """What savings plans and reservations cost this month, and how much of that nobody used."""

    total: Decimal
    unused: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """The provider's answer. Days and months are in UTC, as the provider bills them."""

    fetched: datetime
    currency: str
    charges: tuple[Charge, ...]
    remaining: Decimal | None  # forecast from today to the end of the month; None if the provider has none yet
    estimated: frozenset[date]  # days whose amounts can still change
    pages: int
    price: str  # what the query cost, as text; empty for exports, whose pages are files
    link: str
    others: Mapping[str, Decimal] = field(
        default_factory=dict
    )  # this month's charges in other currencies, which no budget counts
    usage: tuple[DayOfUsage, ...] = ()  # what the services that grew charged for
    tagged: tuple[TaggedUsage, ...] = ()
    commitments: Commitments | None = None

    @property
    def today(self) -> date:
        """The UTC day on which the bill was fetched."""
        return self.fetched.astimezone(UTC).date()


Source = Callable[[Environment, datetime], Bill]
"""A provider: fetches an environment's bill as of now. jobs/cost/aws.py and jobs/cost/focus.py have one each."""


def month_of(day: date) -> date:
    """Return the first day of the day's month."""
    return day.replace(day=1)


def month_after(day: date) -> date:
    """Return the first day of the next month."""
    return month_of(month_of(day) + timedelta(days=31))


def month_before(day: date) -> date:
    """Return the first day of the previous month."""
    return month_of(month_of(day) - timedelta(days=1))
