"""Answers of a provider, kept in the store: asking costs money, and the figures change a few times a day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from inventories import Cost, Environment
from jobs.cost.bill import Bill, Charge, ChargeKind, Source
from jobs.run.documents import from_body, to_body, to_iso
from jobs.store import Missing, Store

FRESH_FOR = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class CachedBill:
    """A bill, and whether it was asked for just now."""

    bill: Bill
    fresh: bool


def cached_bill(
    environment: Environment, store: Store, now: datetime, source: Source, *, refresh: bool = False
) -> CachedBill:
    """The kept answer while it is good, else a new one, which is kept."""
    bill = None if refresh else last_bill(environment, store)
    if bill and timedelta() <= now - bill.asked < FRESH_FOR:
        return CachedBill(bill, fresh=False)
    bill = source(environment, now)
    store.put(_key(environment), encode_bill(bill, _question(environment.cost)))
    return CachedBill(bill, fresh=True)


def last_bill(environment: Environment, store: Store) -> Bill | None:
    """The newest answer to what would be asked today, however old."""
    try:
        body = store.get(_key(environment)).body
    except Missing:
        return None
    question, bill = from_body(_key(environment), body, _read)
    return bill if question == _question(environment.cost) else None


def _key(environment: Environment) -> str:
    return f"{environment.name}/cost/answer.json"


def _question(settings: Cost | None) -> dict[str, Any]:
    """What of the settings changes the answer."""
    return {"tags": dict(settings.filter.tag), "role": settings.role} if settings else {}


def encode_bill(bill: Bill, question: Mapping[str, Any]) -> bytes:
    """An answer as it is stored: by day and service, what was for use, for fees, and credited."""
    days: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(Decimal)))
    for one in bill.charges:
        days[one.day.isoformat()][one.service][one.kind] += one.amount
    return to_body(
        {
            "question": question,
            "asked": to_iso(bill.asked),
            "currency": bill.currency,
            "to_come": bill.to_come,
            "estimated": sorted(bill.estimated),
            "pages": bill.pages,
            "price": bill.price,
            "link": bill.link,
            "days": days,
        }
    )


def _read(fields: dict[str, Any]) -> tuple[dict[str, Any], Bill]:
    bill = Bill(
        asked=datetime.fromisoformat(fields["asked"]),
        currency=fields["currency"],
        charges=tuple(
            Charge(date.fromisoformat(day), service, ChargeKind(kind), Decimal(amount))
            for day, by_service in fields["days"].items()
            for service, kinds in by_service.items()
            for kind, amount in kinds.items()
        ),
        to_come=None if fields["to_come"] is None else Decimal(fields["to_come"]),
        estimated=frozenset(map(date.fromisoformat, fields["estimated"])),
        pages=fields["pages"],
        price=fields["price"],
        link=fields["link"],
    )
    return fields["question"], bill
