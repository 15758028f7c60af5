"""Sum the rows of one FOCUS file. FOCUS is the FinOps Open Cost and Usage Specification."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Protocol

from inventories import Cost
from jobs.cost.bill import ChargeKind, CostError, month_of
from jobs.run.field_types import YEARS

Amounts = dict[tuple[str, date, str, ChargeKind], Decimal]
"""Amounts by currency, day, service and kind of charge."""

Items = dict[tuple[str, date, str, str, str], Decimal]
"""Usage by currency, day, service, description and owner."""

Shares = dict[tuple[str, date, str, str, str], Decimal]
"""Usage by currency, month, tag, value and service."""

Committed = dict[tuple[str, date, str], Decimal]
"""The cost of commitments by currency, day, and whether it was used: Used or Unused."""

COLUMNS = ("ChargePeriodStart", "ServiceName", "ChargeCategory", "BilledCost", "BillingCurrency")
SINCE_1_0 = "ChargeClass"
"""A column that each version from 1.0 to 1.3 has, and 1.0-preview and older versions lack."""
NULL = ("", "NULL", "null")
OPTIONAL = ("ChargeDescription", "CommitmentDiscountStatus", "EffectiveCost")
READ_COLUMNS = frozenset([*COLUMNS, *OPTIONAL, "Tags", SINCE_1_0])
"""All columns that are read. Others need not be decoded."""
LONGEST_DESCRIPTION = 80
MOST_ITEMS = 20_000
"""Further items of a file are not kept, so that memory stays flat."""
LEAST_SHARE_OF_ITEM = Decimal("0.001")
"""An item with less than this part of a file's usage is not kept: it explains no growth."""

_KINDS = {
    "Usage": ChargeKind.USE,
    "Purchase": ChargeKind.FEE,
    "Tax": ChargeKind.FEE,
    "Adjustment": ChargeKind.FEE,
    "Credit": ChargeKind.CREDIT,
}


@dataclass(frozen=True, slots=True)
class Sums:
    """The charges of one file: all by day, usage by its description, by tag, and commitments."""

    amounts: Amounts = field(default_factory=dict)
    items: Items = field(default_factory=dict)
    shares: Shares = field(default_factory=dict)
    committed: Committed = field(default_factory=dict)


class NumberedRows(Protocol):
    """Rows of a file, the names of the columns first, and the number of the last one."""

    @property
    def line_num(self) -> int: ...

    def __iter__(self) -> Iterator[list[str]]: ...

    def __next__(self) -> list[str]: ...


def read_sums(name: str, lines: Iterable[str], settings: Cost) -> Sums:
    """Return the sums of a CSV file's charges with all tags of the filter."""
    return sums_of_rows(name, csv.reader(lines), settings)


def sums_of_rows(name: str, rows: NumberedRows, settings: Cost) -> Sums:
    """Return the sums of charges with all tags of the filter; CostError names the file and the line of a fault."""
    sums = Sums()
    wanted = tuple(settings.filter.tag.values())
    tags = (*settings.filter.tag, *settings.tags)
    try:
        header = next(rows, [])
        places = _places(name, header, [*COLUMNS, *(["Tags"] if tags else [])])
        for row in rows:
            start, service, category, cost, unit, what, status, effective, *tagged = _fields(row, len(header), places)
            values = _values(tagged[0], tags) if tagged else ()
            if values[: len(wanted)] != wanted:
                continue
            charge = _unit(unit), _day(start), "(no service)" if service in NULL else service, _kind(category)
            _count(sums, settings, charge, _cost(cost, "BilledCost"), (what, *values[len(wanted) :]))
            if settings.commitments and status in ("Used", "Unused"):
                key = (*charge[:2], status)
                sums.committed[key] = sums.committed.get(key, Decimal()) + _cost(effective, "EffectiveCost")
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise CostError(
            f"{name} line {rows.line_num}: {error}; let the provider write the export again, or move the file away"
        ) from None
    return Sums(sums.amounts, _big_items(sums.items), sums.shares, sums.committed)


def _count(
    sums: Sums, settings: Cost, charge: tuple[str, date, str, ChargeKind], cost: Decimal, about: Sequence[str]
) -> None:
    """Add a charge; `about` is its description, and the values of the tags that are reported."""
    sums.amounts[charge] = sums.amounts.get(charge, Decimal()) + cost
    unit, day, service, kind = charge
    if kind is not ChargeKind.USE:
        return
    what, *values = about
    owner = values[0] if settings.owner_tag else ""
    item = (unit, day, service, what[:LONGEST_DESCRIPTION], owner)
    if item in sums.items or len(sums.items) < MOST_ITEMS:
        sums.items[item] = sums.items.get(item, Decimal()) + cost
    for tag, value in zip(settings.tags, values, strict=True):
        share = (unit, month_of(day), tag, value, service)
        sums.shares[share] = sums.shares.get(share, Decimal()) + cost


def _big_items(items: Items) -> Items:
    """Return the items that are big enough to explain growth."""
    totals: dict[tuple[str, str, str, str], Decimal] = {}
    for (unit, _, service, what, owner), amount in items.items():
        totals[unit, service, what, owner] = totals.get((unit, service, what, owner), Decimal()) + abs(amount)
    least = LEAST_SHARE_OF_ITEM * sum(totals.values(), Decimal())
    return {
        (unit, day, service, what, owner): amount
        for (unit, day, service, what, owner), amount in items.items()
        if totals[unit, service, what, owner] >= least
    }


def _places(name: str, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    missing = [column for column in [*wanted, SINCE_1_0] if column not in header]
    if missing:
        raise CostError(
            f"{name} is not an export in FOCUS 1.0 to 1.3, because it lacks column {' and '.join(missing)}; "
            "set cost.exports to a directory with FOCUS exports alone"
        )
    after_required = len(COLUMNS)
    columns = [*wanted[:after_required], *OPTIONAL, *wanted[after_required:]]
    return [header.index(column) if column in header else len(header) for column in columns]


def _fields(row: list[str], columns: int, places: Sequence[int]) -> list[str]:
    """Return the fields at these places; the place after the last column is empty."""
    if len(row) != columns:
        raise ValueError(f"has {len(row)} columns, but the header has {columns}")
    row.append("")
    return [row[place] for place in places]


@lru_cache(4096)
def _day(text: str) -> date:
    with suppress(ValueError):
        day = date.fromisoformat(text[:10])
        if day.year in YEARS:
            return day
    raise ValueError(f"ChargePeriodStart is not a time: {text[:40]!r}")


def _kind(category: str) -> ChargeKind:
    try:
        return _KINDS[category]
    except KeyError:
        known = ", ".join(_KINDS)
        raise ValueError(f"ChargeCategory is {category[:40]!r}, which is none of {known}") from None


def _cost(text: str, column: str) -> Decimal:
    try:
        cost = Decimal(text)
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or abs(cost) >= 10**15:
        raise ValueError(f"{column} is not an amount: {text[:40]!r}")
    return cost


@lru_cache(64)
def _unit(text: str) -> str:
    if len(text) != 3 or not text.isascii() or not text.isupper():
        raise ValueError(f"BillingCurrency is not a currency: {text[:40]!r}")
    return text


@lru_cache(4096)
def _values(text: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the values of these tags of a row, whose tags are a JSON object; empty without the tag."""
    if text in NULL:
        return ("",) * len(names)
    try:
        tags = json.loads(text)
        found = [tags.get(name) for name in names]
    except (ValueError, AttributeError, RecursionError):
        raise ValueError(f"Tags is not a JSON object: {text[:40]!r}") from None
    return tuple(value if isinstance(value, str) else "" for value in found)
