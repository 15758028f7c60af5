"""Sum the rows of one FOCUS file. FOCUS is the FinOps Open Cost and Usage Specification."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import lru_cache

from jobs.cost.bill import ChargeKind, CostError
from jobs.run.field_types import YEARS

Amounts = dict[tuple[str, date, str, ChargeKind], Decimal]
"""Amounts by currency, day, service and kind of charge."""

COLUMNS = ("ChargePeriodStart", "ServiceName", "ChargeCategory", "BilledCost", "BillingCurrency")
SINCE_1_0 = "ChargeClass"
"""A column that each version from 1.0 to 1.3 has, and 1.0-preview and older versions lack."""
NULL = ("", "NULL", "null")

_KINDS = {
    "Usage": ChargeKind.USE,
    "Purchase": ChargeKind.FEE,
    "Tax": ChargeKind.FEE,
    "Adjustment": ChargeKind.FEE,
    "Credit": ChargeKind.CREDIT,
}


def read_amounts(name: str, lines: Iterable[str], tags: Mapping[str, str]) -> Amounts:
    """Return the sums of a file's charges with all these tags; CostError names the file and the line of a fault."""
    rows, amounts = csv.reader(lines), Amounts()
    try:
        header = next(rows, [])
        places = _places(name, header, [*COLUMNS, *(["Tags"] if tags else [])])
        for row in rows:
            start, service, category, cost, unit, *tagged = _fields(row, len(header), places)
            if tagged and not _has_tags(tagged[0], tuple(tags.items())):
                continue
            key = _unit(unit), _day(start), "(no service)" if service in NULL else service, _kind(category)
            amounts[key] = amounts.get(key, Decimal()) + _cost(cost)
    except (ValueError, csv.Error, UnicodeDecodeError) as error:
        raise CostError(
            f"{name} line {rows.line_num}: {error}; let the provider write the export again, or move the file away"
        ) from None
    return amounts


def _places(name: str, header: Sequence[str], wanted: Sequence[str]) -> list[int]:
    missing = [column for column in [*wanted, SINCE_1_0] if column not in header]
    if missing:
        raise CostError(
            f"{name} is not an export in FOCUS 1.0 to 1.3, because it lacks column {' and '.join(missing)}; "
            "set cost.exports to a folder with FOCUS exports alone"
        )
    return [header.index(column) for column in wanted]


def _fields(row: Sequence[str], columns: int, places: Sequence[int]) -> list[str]:
    if len(row) != columns:
        raise ValueError(f"has {len(row)} columns, but the header has {columns}")
    return [row[place] for place in places]


@lru_cache(4096)
def _day(text: str) -> date:
    with suppress(ValueError):
        day = date.fromisoformat(text[:10])
        if day.year in YEARS:
            return day
    raise ValueError(f"ChargePeriodStart is no time: {text[:40]!r}")


def _kind(category: str) -> ChargeKind:
    try:
        return _KINDS[category]
    except KeyError:
        known = ", ".join(_KINDS)
        raise ValueError(f"ChargeCategory is {category[:40]!r}, which is none of {known}") from None


def _cost(text: str) -> Decimal:
    try:
        cost = Decimal(text)
    except InvalidOperation:
        cost = Decimal("NaN")
    if not cost.is_finite() or abs(cost) >= 10**15:
        raise ValueError(f"BilledCost is no amount: {text[:40]!r}")
    return cost


@lru_cache(64)
def _unit(text: str) -> str:
    if len(text) != 3 or not text.isascii() or not text.isupper():
        raise ValueError(f"BillingCurrency is no currency: {text[:40]!r}")
    return text


@lru_cache(4096)
def _has_tags(text: str, wanted: tuple[tuple[str, str], ...]) -> bool:
    """Whether the tags of a row, a JSON object, have these values."""
    if text in NULL:
        return False
    try:
        tags = json.loads(text)
        return all(tags.get(name) == value for name, value in wanted)
    except (ValueError, AttributeError, RecursionError):
        raise ValueError(f"Tags is no JSON object: {text[:40]!r}") from None
