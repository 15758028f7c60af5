"""Bills for tests: a fixed amount a day, with exceptions on some days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from jobs.cost.bill import Bill, Charge, ChargeKind, month_after

SERVICES = {"Amazon EC2": Decimal("0.5"), "Amazon RDS": Decimal("0.3"), "Amazon S3": Decimal("0.2")}


def at(text: str) -> datetime:
    """Return a time in UTC; a date alone means 09:00."""
    return datetime.fromisoformat(text if "T" in text else f"{text}T09:00").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Account:
    """An account that costs the same each day, except on the days named here."""

    daily: str = "10"
    since: str = "2020-01-01"
    odd: Mapping[str, str] = field(default_factory=dict)  # by day: all usage of that day
    credits: Mapping[str, str] = field(default_factory=dict)
    fees: Mapping[str, str] = field(default_factory=dict)
    young_until: str = ""  # before this day there is too little history for a forecast
    rates: Mapping[str, str] = field(
        default_factory=dict
    )  # by day: what the provider then forecasts for each later day

    def on(self, day: date) -> list[Charge]:
        """Return the charges of a day."""
        iso = day.isoformat()
        whole = Decimal(self.odd.get(iso, self.daily if iso >= self.since else "0"))
        charges = [Charge(day, name, ChargeKind.USE, whole * part) for name, part in SERVICES.items() if whole]
        for amounts, name, kind in (
            (self.credits, "Amazon EC2", ChargeKind.CREDIT),
            (self.fees, "AWS Support", ChargeKind.FEE),
        ):
            if iso in amounts:
                charges.append(Charge(day, name, kind, Decimal(amounts[iso])))
        return charges

    def rate(self, today: date) -> str | None:
        """Return the forecast for each later day; None with too little history."""
        return None if today.isoformat() < self.young_until else self.rates.get(today.isoformat(), self.daily)

    def bill(self, fetched: datetime) -> Bill:
        """Return the provider's answer: all days up to this one in full, and the forecast for the rest of the month."""
        today = fetched.astimezone(UTC).date()
        days = [today - timedelta(days=back) for back in range(62, -1, -1)]
        left, rate = (month_after(today) - today).days, self.rate(today)
        return Bill(
            fetched=fetched,
            currency="USD",
            charges=tuple(charge for day in days for charge in self.on(day)),
            remaining=None if rate is None else Decimal(rate) * left,
            estimated=frozenset(days[-2:]),
            pages=2,
            price="about 0.02 USD",
            link="https://example.invalid/bill",
        )
