"""Billing exports in the FOCUS format, with the columns that a provider writes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path

COLUMNS = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "EffectiveCost", "ListCost",
    "ProviderName", "ResourceId", "ServiceCategory", "ServiceName", "SubAccountId", "Tags",
)  # fmt: skip


def row(day: str | date, cost: object = "10.5", **fields: str) -> dict[str, str]:
    """A charge; `fields` replace columns."""
    return {
        **dict.fromkeys(COLUMNS, ""),
        "BilledCost": str(cost),
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargePeriodStart": f"{day}T00:00:00Z",
        "ServiceName": "Virtual machines",
        "Tags": json.dumps({"Environment": "staging"}),
        **fields,
    }


def text(rows: Iterable[Mapping[str, str]], columns: Iterable[str] = COLUMNS) -> str:
    """A file of an export."""
    written = io.StringIO()
    writer = csv.DictWriter(written, list(columns), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()


def days(first: str, count: int) -> list[date]:
    return [date.fromisoformat(first) + timedelta(days=number) for number in range(count)]


def export(folder: Path, name: str, rows: Iterable[Mapping[str, str]]) -> Path:
    """Write a file of an export, compressed if its name says so."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    body = text(rows).encode()
    file.write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return file
