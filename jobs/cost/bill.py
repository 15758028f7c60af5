"""A bill as any provider gives it: plain values, and the one function that a provider is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from inventories import Environment
from jobs.run.job import Failed, Transient

LOOKBACK = timedelta(days=62)  # thirty days to judge, and for the first of them thirty days before it


class CostError(Failed):
    """Something about the bill that a user can act on: the message names the thing, the fact and the way out."""


class Busy(Transient):
    """The provider did not answer, or wants to be asked more slowly: trying again later may help."""


class ChargeKind(StrEnum):
    """What a charge is for."""

    USE = "use"
    FEE = "fee"  # once a month or once and for all: taxes, support, reservations
    CREDIT = "credit"  # credits and refunds: they pay for spending, and do not undo it


@dataclass(frozen=True, slots=True)
class Charge:
    """What one service cost on one day."""

    day: date
    service: str
    kind: ChargeKind
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """What a provider answered. Days and months are those that it bills by: UTC's."""

    asked: datetime
    currency: str
    charges: tuple[Charge, ...]
    to_come: Decimal | None  # from today to the end of the month; None where the provider can't tell yet
    estimated: frozenset[date]  # days whose amounts may still change
    pages: int
    price: str  # what asking costs, in words
    link: str

    @property
    def today(self) -> date:
        """The day that it was asked on."""
        return self.asked.astimezone(UTC).date()


Source = Callable[[Environment, datetime], Bill]
"""A provider: asked about an environment now, it answers with the bill. jobs/cost/aws.py is one."""


def month_of(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def month_after(day: date) -> date:
    """The first day of the month after its own."""
    return month_of(month_of(day) + timedelta(days=31))


def month_before(day: date) -> date:
    """The first day of the month before its own."""
    return month_of(month_of(day) - timedelta(days=1))
