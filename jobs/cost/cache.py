"""A cache for bills in the store: queries cost money, and the figures change only a few times a day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from inventories import Cost, Environment
from jobs.cost.bill import Bill, Charge, ChargeKind, Commitments, DayOfUsage, Source, TaggedUsage
from jobs.run.documents import from_body, to_body, to_iso
from jobs.run.field_types import require_types
from jobs.store import LARGE_DOCUMENT_LIMIT, Missing, Store

FRESH_FOR = timedelta(hours=8)


@dataclass(frozen=True, slots=True)
class CachedBill:
    """A bill, and whether it was fetched just now instead of read from the cache."""

    bill: Bill
    fresh: bool


def cached_bill(
    environment: Environment, store: Store, now: datetime, source: Source, *, refresh: bool = False
) -> CachedBill:
    """Return the cached bill while it is fresh, else fetch a new one and cache it."""
    bill = None if refresh else last_bill(environment, store)
    if bill and timedelta() <= now - bill.fetched < FRESH_FOR:
        return CachedBill(bill, fresh=False)
    bill = source(environment, now)
    store.put(_key(environment), encode_bill(bill, _query(environment.cost)))
    return CachedBill(bill, fresh=True)


def last_bill(environment: Environment, store: Store) -> Bill | None:
    """Return the cached bill of any age; None if there is none for the current [cost] settings."""
    try:
        body = store.get(_key(environment), LARGE_DOCUMENT_LIMIT).body
    except Missing:
        return None
    query, bill = from_body(_key(environment), body, _decode_bill)
    return bill if query == _query(environment.cost) else None


def _key(environment: Environment) -> str:
    return f"{environment.name}/cost/bill.json"


def _query(settings: Cost | None) -> dict[str, Any]:
    """Return the settings that determine which charges the bill contains."""
    if settings is None:
        return {}
    return {
        "tags": dict(settings.filter.tag),
        "role": settings.role,
        "from": settings.source,
        "exports": settings.exports,
        "api": settings.api,
        "owner_tag": settings.owner_tag,
        "reported": list(settings.tags),
        "commitments": settings.commitments is not None,
    }


def encode_bill(bill: Bill, query: Mapping[str, Any]) -> bytes:
    """Return the bill as it is stored: amounts by day, service and kind of charge."""
    days: dict[str, dict[str, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(Decimal)))
    for charge in bill.charges:
        days[charge.day.isoformat()][charge.service][charge.kind] += charge.amount
    return to_body(
        {
            "query": query,
            "fetched": to_iso(bill.fetched),
            "currency": bill.currency,
            "remaining": bill.remaining,
            "estimated": sorted(bill.estimated),
            "pages": bill.pages,
            "price": bill.price,
            "link": bill.link,
            "others": bill.others,
            "days": days,
            "usage": [[each.day, each.service, each.what, each.owner, each.amount] for each in bill.usage],
            "tagged": [[each.tag, each.value, each.service, each.amount] for each in bill.tagged],
            "commitments": bill.commitments and [bill.commitments.total, bill.commitments.unused],
        }
    )


def _commitments(amounts: Sequence[str] | None) -> Commitments | None:
    if amounts is None:
        return None
    total, unused = map(Decimal, amounts)
    if total <= 0:
        raise ValueError("commitments have no cost")
    return Commitments(total, unused)


def _decode_bill(fields: dict[str, Any]) -> tuple[dict[str, Any], Bill]:
    bill = Bill(
        fetched=datetime.fromisoformat(fields["fetched"]),
        currency=fields["currency"],
        charges=tuple(
            Charge(date.fromisoformat(day), service, ChargeKind(kind), Decimal(amount))
            for day, by_service in fields["days"].items()
            for service, kinds in by_service.items()
            for kind, amount in kinds.items()
        ),
        remaining=None if fields["remaining"] is None else Decimal(fields["remaining"]),
        estimated=frozenset(map(date.fromisoformat, fields["estimated"])),
        pages=fields["pages"],
        price=fields["price"],
        link=fields["link"],
        others={unit: Decimal(amount) for unit, amount in fields.get("others", {}).items()},
        usage=tuple(
            DayOfUsage(date.fromisoformat(day), service, what, owner, Decimal(amount))
            for day, service, what, owner, amount in fields.get("usage", [])
        ),
        tagged=tuple(
            TaggedUsage(tag, value, service, Decimal(amount))
            for tag, value, service, amount in fields.get("tagged", [])
        ),
        commitments=_commitments(fields.get("commitments")),
    )
    require_types(bill, Bill)
    if bill.link and not bill.link.startswith("https://"):
        raise ValueError("link is no address")
    return fields["query"], bill
