"""Fetch the bill from exports in the FOCUS format, which AWS, Azure, Google Cloud and other providers write."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Any

from inventories import Environment
from jobs.cost.bill import LOOKBACK, Bill, Charge, ChargeKind, CostError, month_after, month_before, month_of
from jobs.cost.export_files import ExportFile, export_files, newest_deliveries
from jobs.cost.focus_rows import Amounts, read_amounts
from jobs.run.documents import from_body, to_body
from jobs.run.field_types import require_types
from jobs.store import LARGE_DOCUMENT_LIMIT, Missing, Store

A_DAY = timedelta(days=1)
TYPICAL_DAYS = 14
"""The forecast continues the median of so many last days."""
LATE = timedelta(days=5)
"""Providers write the charges of a day one to three days later. After this time, the export has stopped."""

LONGEST_LINE = 2**20
"""A longer line becomes several, which are no valid rows: a gigabyte without an end of line fits no memory."""

_Read = Mapping[str, Amounts]


def read_exported_bill(environment: Environment, now: datetime, store: Store) -> Bill:
    """Read the exports of the last two months. Files that an earlier call has read are not read again."""
    settings = environment.cost
    if settings is None or not settings.exports:
        raise CostError(f"{environment.name}: cost.exports is not set, so there is no bill to read")
    key, tags = f"{environment.name}/cost/exports.json", dict(settings.filter.tag)
    first = first_day(now)
    files = newest_deliveries(export_files(environment, settings), first)
    if not files:
        raise CostError(f"{settings.exports}: there is no FOCUS export (.csv or .csv.gz); check cost.exports")
    known = _read_before(store, key, tags)
    read = {each.version: known[each.version] if each.version in known else _read(each, tags) for each in files}
    if read.keys() != known.keys():
        store.put(key, encode_exports(read, tags))
    return bill_of(read, settings.currency, now, new=len(read.keys() - known.keys()), where=settings.exports)


def first_day(now: datetime) -> date:
    """Return the first day that a report needs."""
    return min(month_before(now.date()), now.date() - LOOKBACK)


def _read(file: ExportFile, tags: Mapping[str, str]) -> Amounts:
    with file.open() as stream:
        return read_amounts(file.name, iter(partial(stream.readline, LONGEST_LINE), ""), tags)


def bill_of(read: _Read, currency: str, now: datetime, *, new: int, where: str) -> Bill:
    """Return the bill in one currency; charges in others are named, because no budget counts them."""
    amounts: dict[tuple[str, date, str, ChargeKind], Decimal] = {}
    for file in read.values():
        for key, amount in file.items():
            amounts[key] = amounts.get(key, Decimal()) + amount
    charges = tuple(
        Charge(day, service, kind, amount)
        for (unit, day, service, kind), amount in sorted(amounts.items())
        if unit == currency and day >= first_day(now) and amount
    )
    newest = max((day for _, day, _, _ in amounts), default=None)
    if newest is None or newest < now.date() - LATE:
        since = f"the newest charges are of {newest}" if newest else "there are no charges"
        raise CostError(f"{where}: {since}; check that the provider still writes this export")
    others: dict[str, Decimal] = {}
    for (unit, day, _, _), amount in amounts.items():
        if unit != currency and month_of(day) == month_of(now.date()):
            others[unit] = others.get(unit, Decimal()) + amount
    return Bill(
        fetched=now,
        currency=currency if charges else "",
        charges=charges,
        remaining=remaining_cost(charges, newest, now.date()),
        estimated=frozenset({newest, newest - A_DAY}),
        pages=new,
        price="",
        link="",
        others={unit: amount for unit, amount in sorted(others.items()) if amount},
    )


def remaining_cost(charges: tuple[Charge, ...], newest: date, today: date) -> Decimal | None:
    """Return the forecast from the first day without charges to the end of the month; None without a week of history.

    Usage goes on at the median of the last days. Fees come on the same days as last month.
    """
    usage: dict[date, Decimal] = {}
    for charge in charges:
        if charge.kind is ChargeKind.USE:
            usage[charge.day] = usage.get(charge.day, Decimal()) + charge.amount
    first = min(usage, default=newest)
    days = [newest - A_DAY * number for number in range(1, TYPICAL_DAYS + 1)]
    known = [usage.get(day, Decimal()) for day in days if day >= first]
    if len(known) < TYPICAL_DAYS // 2:
        return None
    # Today counts as a whole: the report adds only the days before it.
    begin, end = min(newest + A_DAY, today), month_after(today)
    last_month = [
        charge.amount
        for charge in charges
        if charge.kind is ChargeKind.FEE
        and month_of(charge.day) == month_before(today)
        and charge.day.day >= begin.day
        and month_of(begin) == month_of(today)
    ]
    return median(known) * (end - max(begin, month_of(today))).days + sum(last_month, Decimal())


def _read_before(store: Store, key: str, tags: Mapping[str, str]) -> _Read:
    """Return the amounts of the files that were read before with the same filter."""
    try:
        body = store.get(key, LARGE_DOCUMENT_LIMIT).body
    except Missing:
        return {}
    return from_body(key, body, partial(decode_exports, tags=tags))


def encode_exports(read: _Read, tags: Mapping[str, str]) -> bytes:
    """Return the amounts of files that were read, as they are stored."""
    return to_body({"tags": tags, "files": {version: _encode(one) for version, one in read.items()}})


def decode_exports(fields: dict[str, Any], tags: Mapping[str, str]) -> _Read:
    """Return the stored amounts; none if they were read with another filter."""
    if fields["tags"] != tags:
        return {}
    return {version: _decode(rows) for version, rows in fields["files"].items()}


def _encode(amounts: Amounts) -> list[list[str]]:
    return [
        [unit, day.isoformat(), service, kind, str(amount)] for (unit, day, service, kind), amount in amounts.items()
    ]


def _decode(rows: list[list[str]]) -> Amounts:
    decoded: Amounts = {}
    for unit, day, service, kind, amount in rows:
        charge = Charge(date.fromisoformat(day), service, ChargeKind(kind), Decimal(amount))
        require_types((unit, charge), tuple[str | Charge, ...])
        decoded[unit, charge.day, charge.service, charge.kind] = charge.amount
    return decoded
