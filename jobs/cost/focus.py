"""Fetch the bill from exports in the FOCUS format, which AWS, Azure, Google Cloud and other providers write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from statistics import median
from typing import Any, TypeVar

from inventories import Cost, Environment
from jobs.cost.bill import (
    LOOKBACK,
    Bill,
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
from jobs.cost.export_files import ExportFile, export_files, newest_deliveries
from jobs.cost.focus_rows import READ_COLUMNS, Sums, read_sums, sums_of_rows
from jobs.cost.parquet import ParquetRows
from jobs.run.documents import from_body, to_body
from jobs.run.field_types import require_types
from jobs.store import LARGE_DOCUMENT_LIMIT, Missing, Store

_Key = TypeVar("_Key")

A_DAY = timedelta(days=1)
TYPICAL_DAYS = 14
"""The forecast continues the median of so many last days."""
LATE = timedelta(days=5)
"""Providers write the charges of a day one to three days later. After this time, the export has stopped."""

LONGEST_LINE = 2**20
"""A longer line becomes several, which are no valid rows: a gigabyte without an end of line fits no memory."""

_Read = Mapping[str, Sums]


def read_exported_bill(environment: Environment, now: datetime, store: Store) -> Bill:
    """Read the exports of the last two months. Files that an earlier call has read are not read again."""
    settings = environment.cost
    if settings is None or not settings.exports:
        raise CostError(f"{environment.name}: cost.exports is not set, so there is no bill to read")
    key = f"{environment.name}/cost/exports.json"
    first = first_day(now)
    files = newest_deliveries(export_files(environment, settings), first)
    if not files:
        raise CostError(f"{settings.exports}: there is no FOCUS export (.csv, .csv.gz or .parquet); check cost.exports")
    known = _read_before(store, key, settings)
    read = {each.version: known[each.version] if each.version in known else _read(each, settings) for each in files}
    if read.keys() != known.keys():
        store.put(key, encode_exports(read, settings))
    return bill_of(read, settings.currency, now, new=len(read.keys() - known.keys()), where=settings.exports)


def first_day(now: datetime) -> date:
    """Return the first day that a report needs."""
    return min(month_before(now.date()), now.date() - LOOKBACK)


def _read(file: ExportFile, settings: Cost) -> Sums:
    if file.is_parquet:
        with file.open_bytes() as body:
            return sums_of_rows(file.name, ParquetRows(body, READ_COLUMNS), settings)
    with file.open() as stream:
        return read_sums(file.name, iter(partial(stream.readline, LONGEST_LINE), ""), settings)


def _total(sums: Iterable[Mapping[_Key, Decimal]]) -> dict[_Key, Decimal]:
    """Return the sums of several files together."""
    total: dict[_Key, Decimal] = {}
    for each in sums:
        for key, amount in each.items():
            total[key] = total.get(key, Decimal()) + amount
    return total


def bill_of(read: _Read, currency: str, now: datetime, *, new: int, where: str) -> Bill:
    """Return the bill in one currency; charges in others are named, because no budget counts them."""
    amounts = _total(each.amounts for each in read.values())
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
        usage=tuple(
            DayOfUsage(day, service, what, owner, amount)
            for (unit, day, service, what, owner), amount in _total(each.items for each in read.values()).items()
            if unit == currency and day >= first_day(now)
        ),
        tagged=tuple(
            TaggedUsage(tag, value, service, amount)
            for (unit, month, tag, value, service), amount in _total(each.shares for each in read.values()).items()
            if unit == currency and month == month_of(now.date())
        ),
        commitments=_commitments(read, currency, now.date()),
    )


def _commitments(read: _Read, currency: str, today: date) -> Commitments | None:
    """Return the use of this month's commitments; None if there are none."""
    by_status = {"Used": Decimal(), "Unused": Decimal()}
    for (unit, day, status), amount in _total(each.committed for each in read.values()).items():
        if unit == currency and month_of(day) == month_of(today):
            by_status[status] += amount
    total = sum(by_status.values(), Decimal())
    return Commitments(total, by_status["Unused"]) if total > 0 else None


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


def _read_before(store: Store, key: str, settings: Cost) -> _Read:
    """Return the sums of the files that were read before with the same settings."""
    try:
        body = store.get(key, LARGE_DOCUMENT_LIMIT).body
    except Missing:
        return {}
    return from_body(key, body, partial(decode_exports, settings=settings))


def encode_exports(read: _Read, settings: Cost) -> bytes:
    """Return the sums of files that were read, as they are stored."""
    return to_body({"query": _query(settings), "files": {version: _encode(one) for version, one in read.items()}})


def decode_exports(fields: dict[str, Any], settings: Cost) -> _Read:
    """Return the stored sums; none if they were read with other settings."""
    if fields.get("query") != _query(settings):
        return {}
    return {version: _decode(sums) for version, sums in fields["files"].items()}


def _query(settings: Cost) -> dict[str, Any]:
    """Return the settings that determine what is kept of a file."""
    return {
        "tags": dict(settings.filter.tag),
        "owner_tag": settings.owner_tag,
        "reported": list(settings.tags),
        "commitments": settings.commitments is not None,
    }


def _encode(sums: Sums) -> dict[str, list[list[str]]]:
    return {
        name: [[*map(str, key), str(amount)] for key, amount in getattr(sums, name).items()]
        for name in ("amounts", "items", "shares", "committed")
    }


def _decode(stored: Mapping[str, list[list[str]]]) -> Sums:
    sums = Sums()
    for unit, day, service, kind, amount in stored["amounts"]:
        sums.amounts[unit, date.fromisoformat(day), service, ChargeKind(kind)] = Decimal(amount)
    for unit, day, service, what, owner, amount in stored["items"]:
        sums.items[unit, date.fromisoformat(day), service, what, owner] = Decimal(amount)
    for unit, month, tag, value, service, amount in stored["shares"]:
        sums.shares[unit, date.fromisoformat(month), tag, value, service] = Decimal(amount)
    for unit, day, status, amount in stored["committed"]:
        if status not in ("Used", "Unused"):
            raise ValueError("the status of a commitment is unknown")
        sums.committed[unit, date.fromisoformat(day), status] = Decimal(amount)
    kept: tuple[Mapping[Any, Decimal], ...] = (sums.amounts, sums.items, sums.shares, sums.committed)
    for key, total in (pair for each in kept for pair in each.items()):
        require_types((*key, total), tuple[str | date | Decimal, ...])
    return sums
