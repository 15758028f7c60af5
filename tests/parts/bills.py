"""Bills of a test's own: so much a day, and what is odd about some days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from jobs.cost.bill import Bill, Charge, ChargeKind, month_after

SERVICES = {"Amazon EC2": Decimal("0.5"), "Amazon RDS": Decimal("0.3"), "Amazon S3": Decimal("0.2")}


def at(text: str) -> datetime:
    """A moment by UTC; a day alone is nine in the morning."""
    return datetime.fromisoformat(text if "T" in text else f"{text}T09:00").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Account:
    """An account that costs the same each day, but for what is said of single days."""

    daily: str = "10"
    since: str = "2020-01-01"
    odd: Mapping[str, str] = field(default_factory=dict)  # a day: its whole use
    credits: Mapping[str, str] = field(default_factory=dict)
    fees: Mapping[str, str] = field(default_factory=dict)
    young_until: str = ""  # too little history for a forecast
    rates: Mapping[str, str] = field(default_factory=dict)  # a day: what the provider then takes each day to come for

    def on(self, day: date) -> list[Charge]:
        """A day's charges."""
        iso = day.isoformat()
        whole = Decimal(self.odd.get(iso, self.daily if iso >= self.since else "0"))
        found = [Charge(day, name, ChargeKind.USE, whole * part) for name, part in SERVICES.items() if whole]
        for amounts, name, kind in (
            (self.credits, "Amazon EC2", ChargeKind.CREDIT),
            (self.fees, "AWS Support", ChargeKind.FEE),
        ):
            if iso in amounts:
                found.append(Charge(day, name, kind, Decimal(amounts[iso])))
        return found

    def rate(self, today: date) -> str | None:
        """What each day to come is forecast to cost; None where it is too early to tell."""
        return None if today.isoformat() < self.young_until else self.rates.get(today.isoformat(), self.daily)

    def bill(self, asked: datetime) -> Bill:
        """What the provider answers: each day until this one whole, and the rest of the month as it should be."""
        today = asked.astimezone(UTC).date()
        days = [today - timedelta(days=back) for back in range(62, -1, -1)]
        left, rate = (month_after(today) - today).days, self.rate(today)
        return Bill(
            asked=asked,
            currency="USD",
            charges=tuple(charge for day in days for charge in self.on(day)),
            to_come=None if rate is None else Decimal(rate) * left,
            estimated=frozenset(days[-2:]),
            pages=2,
            price="about 0.02 USD",
            link="https://example.invalid/bill",
        )
